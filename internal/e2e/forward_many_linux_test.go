package e2e

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// connects is what TestForwardStorm has in all, and atOnce how many of them are
// under way at any time: more than one session carries.
const (
	connects = 10_000
	atOnce   = 1500
)

// TestForwardStorm connects 10,000 times, as fast as it goes: each connection
// is carried or reset, none hangs, and when it is over all is as before. A
// shell on the same node does not notice.
func TestForwardStorm(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	look := p.well(n)
	pe, at := p.forward(p.url, n, "0:"+listener(t, echoes), "0:1") // port 1 is closed
	bounce(t, reach(t, at[0]), []byte("before"))
	before := descriptors(n.root)
	var carried, reset, refused atomic.Int64
	begun := time.Now()
	storm(func(i int) {
		if i%10 == 0 {
			if b, _ := exchange(t, at[1]); len(b) == 0 {
				refused.Add(1)
			}
		} else if b, err := exchange(t, at[0]); err == nil && string(b) == "x" {
			carried.Add(1)
		} else if len(b) == 0 {
			reset.Add(1)
		}
		if i == connects/2 {
			look()
		}
	})
	t.Logf("%d carried, %d reset, %d refused in %v", carried.Load(), reset.Load(), refused.Load(), time.Since(begun))
	if refused.Load() != connects/10 || carried.Load()+reset.Load() != connects-connects/10 || carried.Load() == 0 {
		t.Errorf("of %d connections", connects)
	}
	bounce(t, reach(t, at[0]), []byte("after"))
	look()
	eventually(t, "the node to have its descriptors back", func() bool { return descriptors(n.root) <= before })
	if err := pe.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := pe.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// storm does something for each connection, atOnce of them at any time.
func storm(do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := next.Add(1); i <= connects; i = next.Add(1) {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

// exchange says one byte on a connection of its own and returns the answer.
func exchange(t *testing.T, addr string) ([]byte, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil { // reset while it was being made
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err == nil {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	b, err := io.ReadAll(c)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() { //nolint:errorlint // of the connection itself
		t.Errorf("a connection hangs: %v", err)
	}
	return b, err
}

// descriptors is how many files the processes of the node have open.
func descriptors(root string) (all int) {
	for _, pid := range processes(root) {
		open, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		all += len(open)
	}
	return all
}

// TestForwardDocument forwards by a document of one's own.
func TestForwardDocument(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	doc := p.session("MyPort", `{"schemaVersion":"1.0","description":"x","sessionType":"Port","parameters":{"portNumber":{"type":"String"}},
		"properties":{"portNumber":"{{ portNumber }}","type":"LocalPortForwarding"}}`)
	_, at := p.forwardBy(p.url, n, doc, "0:"+listener(t, echoes))
	bounce(t, reach(t, at[0]), []byte("by a document of one's own"))
	sessions := p.sessions("Active", n.id)
	if len(sessions) != 1 || *sessions[0].DocumentName != doc {
		t.Errorf("%+v", sessions)
	}
}
