package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"ssmagent/internal/config"
	"ssmagent/internal/record/audit"
)

// auditMain is `ssm-cli audit`.
func auditMain(_ context.Context, s streams, root string, args []string) int {
	p, err := pathsFor(root)
	if err != nil {
		return s.wrong(err)
	}
	log := auditLog(s, root, p, config.Default())
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	set := flag.NewFlagSet("ssm-cli audit "+word, flag.ContinueOnError)
	set.SetOutput(s.out)
	asJSON := set.Bool("json", false, "print the lines as they are written")
	if code, ok := parse(set, args, 0); !ok {
		return code
	}
	switch word {
	case "show":
		err = log.Each(func(l audit.Line) error { return showLine(s, l, *asJSON) })
	case "verify":
		var sound bool
		if sound, err = verifyAudit(s, log); err == nil && !sound {
			return exitFailed
		}
	default:
		fmt.Fprintf(s.out, "%s\nerror: audit show or audit verify?\n", cliHelp)
		return exitUsage
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no audit log in %s; it begins with the first registration, command or session", p.Audit)
	}
	if err != nil {
		return s.wrong(err)
	}
	return exitOK
}

// showLine prints one event for people: what is set, in a fixed order.
func showLine(s streams, l audit.Line, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(s.out).Encode(l)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-17s", l.Time.Format(time.RFC3339), printable(string(l.Kind)))
	for _, m := range []struct{ name, value string }{
		{"session", l.Session}, {"command", l.Command}, {"type", l.Type}, {"document", l.Document}, {"owner", l.Owner}, {"user", l.User},
		{"target", l.Target}, {"direction", l.Direction}, {"status", l.Status}, {"recording", l.Recording}, {"sha256", l.Digest}, {"node", l.Node},
	} {
		if m.value != "" {
			fmt.Fprintf(&b, " %s=%s", m.name, printable(m.value))
		}
	}
	for _, m := range []struct {
		name  string
		value int64
	}{
		{"in", l.In}, {"out", l.Out}, {"connections", int64(l.Connections)}, {"ms", l.Millis}, {"lines", l.Lines}, {"bytes", l.Bytes}, {"missed", int64(l.Missed)},
	} {
		if m.value != 0 {
			fmt.Fprintf(&b, " %s=%d", m.name, m.value)
		}
	}
	if l.Detail != "" {
		fmt.Fprintf(&b, " %q", l.Detail)
	}
	_, err := fmt.Fprintln(s.out, b.String())
	return err
}

// verifyAudit says what the log is, and whether it is as it was written.
func verifyAudit(s streams, log *audit.Log) (sound bool, err error) {
	r, err := log.Verify()
	if err != nil {
		return false, err
	}
	for _, n := range r.Notes {
		fmt.Fprintf(s.out, "note: %s\n", n)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(s.out, "FAULT: %v\n", f)
	}
	fmt.Fprintf(s.out, "%d lines in %d files, the last is number %d with sha256 %s\n", r.Lines, r.Files, r.Last, r.Hash)
	if len(r.Faults) > 0 {
		fmt.Fprintf(s.out, "the audit log is NOT as it was written: %d faults\n", len(r.Faults))
		return false, nil
	}
	fmt.Fprintln(s.out, "the audit log is as it was written")
	return true, nil
}
