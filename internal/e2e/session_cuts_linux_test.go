package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/internal/client/clienttest"
)

// through has the agent use a proxy for its message gateway from now on.
func (p *plane) through(n *node, seed uint64) *clienttest.Proxy {
	p.t.Helper()
	proxy := clienttest.NewProxy(p.t, strings.TrimPrefix(p.url, "http://"), seed)
	n.term()
	p.configure(n.root, map[string]any{"Mgs": map[string]any{"Endpoint": "ws://" + proxy.Addr()}})
	p.connected(n, types.ConnectionStatusNotConnected)
	n.start()
	p.connected(n, types.ConnectionStatusConnected)
	return proxy
}

// counting is what `seq 1 n` prints on a terminal.
func counting(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "%d\r\n", i)
	}
	return b.String()
}

// differ says where two texts part.
func differ(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Fatalf("%s: %d bytes instead of %d; at %d %.60q instead of %.60q", what, len(got), len(want), i, got[i:], want[i:])
}

// cutWhile cuts until each proxy has made its share, during as many rounds as
// that takes.
func cutWhile(t *testing.T, share int, proxies []*clienttest.Proxy, lo, hi int, round func(i int)) {
	t.Helper()
	var begun []int
	for _, x := range proxies {
		begun = append(begun, x.Cuts())
		x.CutEvery(lo, hi, 1<<20)
		x.Cut()
	}
	enough := func() bool {
		for i, x := range proxies {
			if x.Cuts()-begun[i] < share {
				return false
			}
		}
		return true
	}
	for i := 0; !enough(); i++ {
		if i == 40 {
			t.Fatal("too few cuts: nothing was tested")
		}
		round(i)
	}
	for _, x := range proxies {
		x.CutEvery(0, 0, 0)
		x.Cut() // the next connection is whole
	}
}

// quiet makes a shell that neither echoes nor prompts.
func quiet(pe *person) {
	pe.types("PS1=; stty -echo; echo $((6*7))quiet\n")
	pe.sees(`42quiet\r*\n`)
}

// TestSessionCutsStockPlugin cuts the agent's side only: the plugin itself
// ends when it cannot send.
func TestSessionCutsStockPlugin(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	agent := p.through(n, 3)
	pe := sit(t, p.stock(n.id), 80, 24)
	pe.sees(`[#$] $`)
	quiet(pe)
	want := strings.ReplaceAll(counting(200_000), "\r", "")
	cutWhile(t, 50, []*clienttest.Proxy{agent}, 24<<10, 128<<10, func(i int) {
		pe.types(fmt.Sprintf("echo $((%d))begin; seq 1 200000; echo $((%d))end\n", i, i))
		pe.take(fmt.Sprintf("%dbegin\r", i))
		pe.sees(`\n`)
		end := fmt.Sprintf("%dend\r", i)
		differ(t, "output", strings.ReplaceAll(strings.TrimSuffix(pe.take("\n"+end), end), "\r", ""), want)
		pe.sees(`\n`)
	})
	pe.types("exit\n")
	if code := pe.ends(); code != 0 {
		t.Errorf("the client ended with %d", code)
	}
	p.history(n.id, 1)
	n.noShells()
}
