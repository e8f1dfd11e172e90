package session

import (
	"fmt"
	"strconv"
	"strings"

	"ssmagent/internal/wire/mgs"
)

// Platforms, the members of a command session's properties.
const (
	Linux   = "linux"
	MacOS   = "macos"
	Windows = "windows"
)

// Command is what a command session runs on this node.
func (r Request) Command() (mgs.CommandProperty, error) {
	all, err := mgs.Decode[mgs.CommandProperties](r.Properties)
	if err != nil {
		return mgs.CommandProperty{}, fmt.Errorf("properties of the session document: %w", err)
	}
	c := map[string]*mgs.CommandProperty{Linux: all.Linux, MacOS: all.MacOS, Windows: all.Windows}[r.Node.Platform]
	if c == nil || strings.TrimSpace(c.Commands) == "" {
		return mgs.CommandProperty{}, fmt.Errorf("Commands cannot be empty for session type %s; the session document must have them in properties.%s.commands", r.Type, r.Node.Platform) //nolint:staticcheck // as stock agents begin it
	}
	for member, prefix := range map[string]string{"stdOutSeparatorPrefix": c.StdOutSeparatorPrefix, "stdErrSeparatorPrefix": c.StdErrSeparatorPrefix} {
		if !separator(prefix) {
			return mgs.CommandProperty{}, fmt.Errorf("properties.%s.%s is %.40q; at most 30 letters, digits, line ends and the characters _ : - are possible", r.Node.Platform, member, prefix)
		}
	}
	return *c, nil
}

// separator says whether stock agents would take s as a prefix of output.
func separator(s string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("\r\n_:-", r)
	}
	return len(s) <= 30 && !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

// Port is what a port session connects to. Its PortNumber is a port.
func (r Request) Port() (mgs.PortProperties, error) {
	p, err := mgs.Decode[mgs.PortProperties](r.Properties)
	if err != nil {
		return p, fmt.Errorf("properties of the session document: %w", err)
	}
	if n, err := strconv.ParseUint(p.PortNumber, 10, 16); err != nil || n == 0 {
		return p, fmt.Errorf("properties.portNumber of the session document is %.40q; it must be a port from 1 to 65535, as a string", p.PortNumber)
	}
	if len(p.Host) > maxHost {
		return p, fmt.Errorf("properties.host of the session document has %d bytes, host names have at most %d", len(p.Host), maxHost)
	}
	return p, nil
}

// maxHost is what a name in the DNS can have, with some room for an address
// in brackets with its zone.
const maxHost = 300

// checkProperties refuses what the worker could do nothing with.
func (r Request) checkProperties() (err error) {
	switch r.Type {
	case mgs.SessionInteractiveCommands, mgs.SessionNonInteractiveCommands:
		_, err = r.Command()
	case mgs.SessionPort:
		_, err = r.Port()
	case mgs.SessionStandardStream:
	default:
		err = fmt.Errorf("session type %.64q is unknown; the session document must have Standard_Stream, InteractiveCommands, NonInteractiveCommands or Port as its sessionType", r.Type)
	}
	return err
}
