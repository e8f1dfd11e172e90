package program

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"ssmagent/internal/wire/ssm"
)

// Documents of the service for ports.
const (
	documentPort       = "AWS-StartPortForwardingSession"
	documentRemoteHost = "AWS-StartPortForwardingSessionToRemoteHost"
)

// way is from where to where connections are carried.
type way struct {
	network, local string // of net.Listen
	host           string // as the node sees it; empty: the node itself
	port           string
	document       string // of one's own; empty: the service's
}

// target is the far end as people write it.
func (w way) target(node string) string {
	if w.host == "" {
		return node + " port " + w.port
	}
	return net.JoinHostPort(w.host, w.port) + " through " + node
}

// order is what StartSession is asked for; local is the port that is listened
// on, for the session's record. A document of one's own gets portNumber, and
// host where one is named.
func (w way) order(node string, local net.Addr) ssm.StartSessionInput {
	in := ssm.StartSessionInput{Target: node, DocumentName: documentPort, Parameters: map[string][]string{"portNumber": {w.port}}}
	if a, ok := local.(*net.TCPAddr); ok && w.document == "" { // another document need not know it
		in.Parameters["localPortNumber"] = []string{strconv.Itoa(a.Port)}
	}
	if w.host != "" {
		in.DocumentName = documentRemoteHost
		in.Parameters["host"] = []string{w.host}
	}
	if w.document != "" {
		in.DocumentName = w.document
	}
	return in
}

var errWay = errors.New("write it as [bind:]port[:host:port], as port:port of the node, or with the path of a Unix socket in front, as /run/db.sock:5432; IPv6 addresses in brackets")

// parseWay reads what to forward.
func parseWay(text string) (way, error) {
	w, err := splitWay(text)
	if err != nil {
		return w, fmt.Errorf("%q: %w", text, err)
	}
	// Node-side loopback is the node itself; named as a host it is refused.
	if ip := net.ParseIP(w.host); strings.EqualFold(w.host, "localhost") || ip != nil && ip.IsLoopback() {
		w.host = ""
	}
	return w, nil
}

func splitWay(text string) (way, error) {
	words, err := words(text)
	if err != nil {
		return way{}, err
	}
	w := way{network: "tcp"}
	bind, local, rest := "localhost", words[0], words[1:]
	switch first := words[0]; {
	case filepath.IsAbs(first) || strings.HasPrefix(first, "."):
		w.network, w.local = "unix", first
		if len(rest) == 0 {
			return w, errWay
		}
		return w, w.far(rest)
	case port(first, 0) && len(words) <= 3:
		if len(rest) == 0 {
			rest = words[:1]
		}
	case len(words) == 2 || len(words) == 4:
		bind, local = first, words[1]
		if rest = words[2:]; len(rest) == 0 {
			rest = words[1:2]
		}
	case len(words) == 3: // bind:port:port
		bind, local, rest = first, words[1], words[2:]
	default:
		return w, errWay
	}
	if !port(local, 0) || bind == "" {
		return w, errWay
	}
	w.local = net.JoinHostPort(bind, local)
	return w, w.far(rest)
}

// far takes [host:]port.
func (w *way) far(words []string) error {
	w.port = words[len(words)-1]
	if len(words) == 2 {
		if w.host = words[0]; w.host == "" {
			return errWay
		}
	}
	if len(words) > 2 || !port(w.port, 1) {
		return errWay
	}
	return nil
}

// port says whether s is a port's number, from least on, as it is written.
func port(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535 && strconv.Itoa(n) == s
}

// words cuts at colons that are not in brackets, and takes the brackets off.
func words(text string) ([]string, error) {
	var all []string
	for {
		var word, rest string
		var more bool
		if strings.HasPrefix(text, "[") {
			end := strings.IndexByte(text, ']')
			if end < 0 || net.ParseIP(text[1:end]) == nil {
				return nil, errWay
			}
			word, rest = text[1:end], text[end+1:]
			if more = strings.HasPrefix(rest, ":"); more {
				rest = rest[1:]
			} else if rest != "" {
				return nil, errWay
			}
		} else {
			word, rest, more = strings.Cut(text, ":")
		}
		if all = append(all, word); !more {
			return all, nil
		}
		if len(all) > 4 {
			return nil, errWay
		}
		text = rest
	}
}
