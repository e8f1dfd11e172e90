package e2e

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// sized is a session document whose shell tells its size before its first
// prompt.
const sized = `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"shellProfile":{"linux":"stty size; PS1='[prompt] '"}}}`

func (p *plane) sizedDocument() string {
	p.t.Helper()
	p.sessionDocument("Sized", sized)
	return "Sized"
}

func (p *plane) sessionDocument(name, content string) {
	p.t.Helper()
	if _, err := p.sdk().CreateDocument(p.t.Context(), &ssm.CreateDocumentInput{Name: &name, Content: &content, DocumentType: types.DocumentTypeSession}); err != nil {
		p.t.Fatal(err)
	}
}

// works does with a shell what a person does first.
func works(t *testing.T, pe *person) (pid string) {
	t.Helper()
	pe.sees(`43 132\r*\n\[prompt\] `)
	pe.types("echo $((6*7)) 'grüße 日本 🙂'\n")
	pe.sees(`\n42 grüße 日本 🙂\r*\n\[prompt\] `)
	pe.resizes(101, 33)
	// The size arrives in its own time, but before what is typed much later.
	pe.types("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.02; done; echo resized $$\n")
	return pe.sees(`\nresized (\d+)\r*\n\[prompt\] `)[1]
}

func TestSessionStockPlugin(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	doc := p.sizedDocument()

	pe := sit(t, p.stock(n.id, "--document-name", doc), 132, 43)
	first := works(t, pe)
	pe.types("\x03") // an interrupt goes to the shell, not to the client
	pe.sees(`\^C\s+\[prompt\] `)
	pe.types("exit\n")
	if code := pe.ends(); code != 0 {
		t.Errorf("exit: the client ended with %d", code)
	}

	pe = sit(t, p.stock(n.id, "--document-name", doc), 132, 43)
	second := works(t, pe)
	active := p.sessions(types.SessionStateActive, n.id)
	if len(active) != 1 || active[0].Status != types.SessionStatusConnected {
		t.Fatalf("%+v", active)
	}
	p.terminate(*active[0].SessionId)
	pe.sees(`terminated by `)
	pe.ends()
	if h := p.history(n.id, 2); h[*active[0].SessionId].Status != types.SessionStatusTerminated {
		t.Errorf("%+v", h)
	}
	n.noShells(first, second)
}

func TestSessionOurClient(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	doc := p.sizedDocument()

	pe := sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
	id := pe.sees(`session (\S+) on ` + n.id)[1]
	first := works(t, pe)
	pe.types("sh -c 'trap \"exit 9\" INT; echo $((6*7)); while :; do sleep 0.01; done'\n")
	pe.sees(`\n42\r*\n`)
	pe.types("\x03")
	pe.sees(`\^C\s*\[prompt\] `)
	pe.types("echo interrupted $?\n")
	pe.sees(`interrupted 9\r*\n\[prompt\] `)
	pe.types("exit 7\n")
	pe.sees(id + ` has ended`)
	if code := pe.ends(); code != 7 {
		t.Errorf("exit 7: the client ended with %d", code)
	}

	pe = sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
	id = pe.sees(`session (\S+) on ` + n.id)[1]
	second := works(t, pe)
	p.terminate(id)
	pe.sees(`terminated by `)
	if code := pe.ends(); code != 255 {
		t.Errorf("terminated: the client ended with %d", code)
	}

	pe = sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
	third := works(t, pe)
	pe.types("\r~?")
	pe.sees(`~\.`)
	pe.types("\r~.")
	if code := pe.ends(); code != 255 {
		t.Errorf("left: the client ended with %d", code)
	}
	p.history(n.id, 3)
	n.noShells(first, second, third)
}

func TestSessionPipedInput(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	pe := script(t, p.shell(p.url, n.id))
	pe.types("echo $((6*7)) $$\nexit 3\n")
	pid := pe.sees(`(?:\n|[#$] )42 (\d+)\r*\n`)[1]
	pe.in.Close()
	if code := pe.ends(); code != 3 {
		t.Errorf("exit 3: the client ended with %d", code)
	}
	p.history(n.id, 1)
	n.noShells(pid)
}

// TestSessionNpm opens shells with npm's ssm-session, which answers no
// handshake and acknowledges in a way of its own. One that tells its size gets
// a shell of that size at once; one that tells none is waited for a second, and
// then gets 80 columns and 24 rows.
func TestSessionNpm(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("needs node: run `make test-e2e`, which installs it, or apt-get install nodejs npm")
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for i, tc := range []struct {
		told, size  string
		least, most int // milliseconds until the first output
	}{{"34 197", "34 197", 0, 10_000}, {"0 0", "24 80", 990, 10_000}} {
		out, err := p.sdk().StartSession(t.Context(), &ssm.StartSessionInput{Target: &n.id})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(node, filepath.Join("testdata", "ssm-session.js"))
		cmd.Env = environment(t, "NODE_PATH="+filepath.Join(tools(t, "npm/node_modules"), "npm", "node_modules"), "STREAM_URL="+*out.StreamUrl, "TOKEN="+*out.TokenValue, "SIZE="+tc.told)
		pe := script(t, cmd)
		took, err := strconv.Atoi(pe.sees(`first output after (\d+) ms`)[1])
		if err != nil || took < tc.least || took > tc.most {
			t.Errorf("%s: the shell began after %d ms", tc.told, took)
		}
		pe.types("stty size; echo $((6*7)) $$\n")
		m := pe.sees(`\n(\d+ \d+)\r*\n42 (\d+)\r*\n`)
		if m[1] != tc.size {
			t.Errorf("%s: the size is %s", tc.told, m[1])
		}
		pe.types("exit\n")
		if code := pe.ends(); code != 0 {
			t.Errorf("exit: the client ended with %d", code)
		}
		p.history(n.id, i+1)
		n.noShells(m[2])
	}
}

func TestSessionRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	for _, tc := range []struct{ node, says string }{
		{n.id, "not connected"},
		{"mi-00000000000000000", "not connected"},
		{"../" + n.id, "not connected"},
	} {
		pe := script(t, p.shell(p.url, tc.node))
		pe.sees(tc.says)
		if code := pe.ends(); code != 255 {
			t.Errorf("%s: the client ended with %d", tc.node, code)
		}
	}
}
