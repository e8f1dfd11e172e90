package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
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

// take waits for the text and returns what was shown until its end, after what
// was seen before.
func (pe *person) take(text string) string {
	pe.t.Helper()
	pe.mu.Lock()
	from := pe.seen
	pe.mu.Unlock()
	pe.sees(regexp.QuoteMeta(text))
	pe.mu.Lock()
	defer pe.mu.Unlock()
	return string(pe.out[from:pe.seen])
}

// round has the shell count to most once and compares what is shown.
func (pe *person) round(i, most int, want string) {
	pe.t.Helper()
	pe.types(fmt.Sprintf("echo $((%d))begin; seq 1 %d; echo $((%d))end\n", i, most, i))
	pe.sees(fmt.Sprintf(`%dbegin\r+\n`, i))
	end := fmt.Sprintf("%dend\r", i)
	differ(pe.t, "output", strings.ReplaceAll(strings.TrimSuffix(pe.take(end), end), "\r", ""), want)
	pe.sees(`\n`)
}

// TestSessionCuts cuts both sides' connections in the midst of what is shown,
// and of what is typed.
func TestSessionCuts(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	agent := p.through(n, 1)
	client := clienttest.NewProxy(t, strings.TrimPrefix(p.url, "http://"), 2)
	cmd := p.shell("http://"+client.Addr(), n.id)
	notes, err := os.Create(filepath.Join(t.TempDir(), "notes")) // the client's own words
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close()
	cmd.Stderr = notes
	pe := sit(t, cmd, 80, 24)
	pe.sees(`[#$] $`)
	quiet(pe)
	both := []*clienttest.Proxy{agent, client}
	want := strings.ReplaceAll(counting(200_000), "\r", "")
	cutWhile(t, 15, both, 64<<10, 256<<10, func(i int) { pe.round(i, 200_000, want) })

	file := filepath.Join(t.TempDir(), "typed")
	const size = 300_000
	cutWhile(t, 15, both, 8<<10, 24<<10, func(i int) {
		pe.types(fmt.Sprintf("stty raw; echo $((%d))ready; head -c %d >%s; stty -raw; echo $((%d))done\n", i, size, file, i))
		pe.sees(fmt.Sprintf(`%dready\n`, i))
		typed := keys(uint64(i), size)
		pe.types(typed)
		pe.sees(fmt.Sprintf(`%ddone\r`, i))
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		differ(t, "input", string(got), typed)
	})
	pe.types("exit 4\n")
	if code := pe.ends(); code != 4 {
		t.Errorf("the client ended with %d", code)
	}
	p.history(n.id, 1)
	n.noShells()
	t.Logf("%d cuts of the agent's connections, %d of the client's", agent.Cuts(), client.Cuts())
}

// keys are n letters that tell where they stand, so that any loss shows.
func keys(seed uint64, n int) string {
	rnd := rand.New(rand.NewPCG(seed, 5))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rnd.IntN(26))
	}
	return string(b)
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
		pe.round(i, 200_000, want)
	})
	pe.types("exit\n")
	if code := pe.ends(); code != 0 {
		t.Errorf("the client ended with %d", code)
	}
	p.history(n.id, 1)
	n.noShells()
}
