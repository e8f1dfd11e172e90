package worker_test

import (
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/mgs"
)

// server is a TCP server that answers lines in capitals until "bye".
func server(t *testing.T) (portNumber string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		ln.Close()
		<-served
	})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, "SSH-2.0-test\r\n")
			b := make([]byte, 4)
			for {
				if _, err := io.ReadFull(c, b); err != nil || string(b) == "bye\n" {
					break
				}
				_, _ = io.WriteString(c, strings.ToUpper(string(b)))
			}
			c.Close()
		}
	}()
	_, portNumber, _ = net.SplitHostPort(ln.Addr().String())
	return portNumber
}

// ports orders a port session.
func ports(p mgs.PortProperties) func(*mgs.AgentTaskContent) {
	return func(c *mgs.AgentTaskContent) {
		c.DocumentContent.SessionType = mgs.SessionPort
		c.DocumentContent.Properties, _ = json.Marshal(p)
	}
}

func TestPort(t *testing.T) {
	l := newLab(t)
	l.gw.stock("1.3.0.0")
	m, stop := l.agent()
	l.order(m, ports(mgs.PortProperties{PortNumber: server(t)}))
	l.gw.expect("SSH-2.0-test\r\n")
	stop() // the connection does not notice
	l.gw.typed("abc\n")
	l.gw.expect("ABC\n")
	l.gw.cut()
	l.agent()
	l.gw.typed("def\n")
	l.gw.expect("DEF\n")
	l.gw.typed("bye\n")
	l.ended("Success", "")
	l.gw.mu.Lock()
	defer l.gw.mu.Unlock()
	if len(l.gw.states) != 1 || l.gw.out.String() != "SSH-2.0-test\r\nABC\nDEF\n" {
		t.Errorf("states %q, %q", l.gw.states, l.gw.out.String())
	}
}

// What a session forwarded is on the audit log.
func TestPortTraces(t *testing.T) {
	l := newTraced(t)
	l.gw.stock("1.3.0.0")
	m, _ := l.agent()
	number := server(t)
	l.order(m, ports(mgs.PortProperties{PortNumber: number}))
	l.gw.expect("SSH-2.0-test\r\n")
	l.gw.typed("abc\nbye\n")
	l.ended("Success", "")
	lines := l.lines()
	if got := kinds(lines); !slices.Equal(got, []audit.Kind{audit.SessionStart, audit.Forward, audit.SessionEnd}) {
		t.Fatalf("%q", got)
	}
	for _, e := range lines[1:] {
		if e.Target != "localhost:"+number || e.In != 8 || e.Out != 18 || e.Connections != 1 || e.Status != "Success" {
			t.Errorf("%+v", e)
		}
	}
}

func TestPortTerminated(t *testing.T) {
	for name, p := range map[string]mgs.PortProperties{"ssh": {}, "forwarding": {Type: mgs.LocalPortForwarding}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.gw.stock("1.3.0.0")
			m, _ := l.agent()
			p.PortNumber = server(t)
			l.order(m, ports(p))
			if p.Type == "" {
				l.gw.expect("SSH-2.0-test\r\n")
			} else {
				l.gw.await("the handshake", func() bool { return l.gw.complete })
			}
			l.gw.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode())
			l.ended("Success", "")
		})
	}
}

func TestPortFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		p    mgs.PortProperties
		want string
	}{
		"refused":          {mgs.PortProperties{PortNumber: "1"}, "connect to localhost:1: "},
		"no port":          {mgs.PortProperties{PortNumber: "0"}, "portNumber"},
		"metadata service": {mgs.PortProperties{PortNumber: "80", Host: "0xa9fea9fe", Type: mgs.LocalPortForwarding}, "Forwarding to IP address 0xa9fea9fe is forbidden."},
		"this node":        {mgs.PortProperties{PortNumber: "80", Host: "127.0.0.1", Type: mgs.LocalPortForwarding}, "Forwarding to IP address 127.0.0.1 is forbidden."},
		"mixed":            {mgs.PortProperties{PortNumber: "80", Host: "mixed.example"}, "Forwarding to IP address mixed.example is forbidden."},
		"configured":       {mgs.PortProperties{PortNumber: "80", Host: "far.example"}, "Forwarding to IP address far.example is forbidden."},
		"unknown":          {mgs.PortProperties{PortNumber: "80", Host: "none.example"}, "cannot be resolved on the node: no such host"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.gw.stock("1.3.0.0")
			m, _ := l.agent()
			l.order(m, ports(tc.p))
			l.ended("Failed", tc.want)
		})
	}
}
