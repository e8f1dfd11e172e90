package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"
)

// TestWineSessions: sessions of every type on a Windows agent, by the official
// plugin and by our client, and the traces that they leave.
func TestWineSessions(t *testing.T) { //nolint:paralleltest // it looks for what is left of all sessions of the machine
	w := newWine(t)
	p := newPlane(t)
	id, root, agent := w.node(p)
	const cmd = `"inputs":{"ssmagent":{"windowsShell":"cmd"}}`
	p.sessionDocument("Cmd", `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream",`+cmd+`}`)
	p.sessionDocument("CmdCommand", `{"schemaVersion":"1.0","description":"x","sessionType":"InteractiveCommands",`+cmd+`,"parameters":{"command":{"type":"String"}},"properties":{"windows":{"commands":"{{command}}"}}}`)
	p.sessionDocument("CmdApart", `{"schemaVersion":"1.0","description":"x","sessionType":"NonInteractiveCommands",`+cmd+`,"parameters":{"command":{"type":"String"}},
		"properties":{"windows":{"commands":"{{command}}","separateOutputStream":true,"stdOutSeparatorPrefix":"OUT:","stdErrSeparatorPrefix":"ERR:"}}}`)

	t.Run("shells", func(t *testing.T) { p.wineShells(t, id) })
	t.Run("commands", func(t *testing.T) { p.wineCommands(t, id) })
	t.Run("copies", func(t *testing.T) { p.wineCopies(t, id, root) })
	t.Run("ports", func(t *testing.T) { p.winePorts(t, id) })
	t.Run("records", func(t *testing.T) { w.wineRecords(t, p, id, root) })
	nothingOfSessions(t)
	t.Run("a killed worker", func(t *testing.T) { p.wineKilled(t, id) })
	t.Run("handles", func(t *testing.T) { w.wineHandles(t, p, id, root) })
	nothingOfSessions(t)
	agent.kill()
}

// nothingOfSessions waits until no process of a session is left.
func nothingOfSessions(t *testing.T) {
	t.Helper()
	eventually(t, "nothing of the sessions to be left", func() bool {
		for _, name := range []string{"powershell.exe", "conhost.exe", "ssm-session-"} {
			if len(processes(name)) > 0 {
				return false
			}
		}
		return true
	})
}

// wineShells: cmd, where the document says so.
func (p *plane) wineShells(t *testing.T, id string) {
	pe := sit(t, p.shell(p.url, id, "-document", "Cmd"), 132, 43)
	pe.sees(`C:\\.*>`)
	pe.types("echo [grüße ^日本]\n")
	pe.sees(`\[grüße 日本\]`) // what is typed has one character more
	pe.types("exit 5\n")
	if code := pe.ends(); code != 5 {
		t.Errorf("exit 5 is %d", code)
	}
	pe = sit(t, p.stock(id, "--document-name", "Cmd"), 132, 43)
	pe.sees(`C:\\.*>`)
	pe.types("echo [grüße ^日本]\n")
	pe.sees(`\[grüße 日本\]`) // what is typed has one character more
	pe.types("exit\n")
	pe.sees(`Exiting session with sessionId`)
	pe.ends()
}

// wineCommands: with a terminal and without, what they print, how they end.
func (p *plane) wineCommands(t *testing.T, id string) {
	pe := sit(t, p.shell(p.url, id, "-document", "CmdCommand", "-parameters", `command=echo "two  words" & exit 7`), 100, 30)
	pe.sees(`"two  words"`)
	if code := pe.ends(); code != 7 {
		t.Errorf("exit 7 is %d", code)
	}
	pe = script(t, p.stock(id, with(t, "CmdApart", map[string]string{"command": "echo one& echo two 1>&2& exit 42"})...))
	pe.sees(`OUT:one`)
	pe.sees(`ERR:two`)
	pe.sees(`EXIT_CODE: 42`)
	pe.ends()
	input := noise(1, 1<<20)
	o, e, code := ends(t, p.local(p.url, "exec", id, "--", "exit", "9"), bytes.NewReader(input))
	if want := "called with [\"exit\" \"9\"]\n"; code != 9 || e != "this is standard error\n" || !strings.HasPrefix(o, want) || digest([]byte(o[len(want):])) != digest(input) {
		t.Errorf("exit %d, %d bytes beginning with %.80q, %q", code, len(o), o, e)
	}
}

// wineCopies: a folder there and back.
func (p *plane) wineCopies(t *testing.T, id, root string) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "folder", "deep"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"deep/big": noise(2, 4<<20), "deep/empty": nil, "ü 1": []byte("small")} {
		if err := os.WriteFile(filepath.Join(dir, "folder", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there := id + `:C:\` + filepath.Base(root) + `\copied`
	for _, c := range [][2]string{{filepath.Join(dir, "folder"), there}, {there, filepath.Join(dir, "down")}} {
		if o, e, code := ends(t, p.local(p.url, "cp", "-output", "json", c[0], c[1]), nil); code != 0 {
			t.Fatalf("cp %s: exit %d, %s%s", c, code, o, e)
		}
	}
	if out, err := exec.Command("diff", "-r", filepath.Join(dir, "folder"), filepath.Join(dir, "down")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// winePorts: a transfer both ways.
func (p *plane) winePorts(t *testing.T, id string) {
	srv, sum := bulk(t, 4<<20)
	pe := script(t, p.stock(id, with(t, "AWS-StartPortForwardingSession", map[string]string{"portNumber": portOf(t, srv.URL)})...))
	local := pe.sees(`Port (\d+) opened for sessionId`)[1]
	pe.sees(`Waiting for connections`)
	c := browser(to("tcp", "127.0.0.1:"+local))
	if sha256.Sum256(get(t, c, "/bulk")) != sum {
		t.Error("what came by the official plugin is not what was sent")
	}
	if err := syscall.Kill(-pe.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	pe.sees(`Exiting session with sessionId`)
	pe.ends()

	pe, at := p.forward(p.url, &node{id: id}, "0:"+listener(t, echoes))
	for range 3 {
		bounce(t, reach(t, at[0]), bytes.Repeat([]byte("there and back "), 50_000))
	}
	if err := syscall.Kill(-pe.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	pe.ends()
}

// wineRecords: what was shown can be read, and the audit log is whole.
func (m wine) wineRecords(t *testing.T, p *plane, id, root string) {
	pe := sit(t, p.shell(p.url, id, "-document", "Cmd"), 90, 25)
	session := pe.sees(`\[session (\S+) on`)[1]
	pe.sees(`C:\\.*>`)
	pe.types("echo recorded-^日本\n")
	pe.sees("recorded-日本")
	pe.types("exit\n")
	pe.ends()
	p.history(id, 10)
	for args, want := range map[string]string{"recordings export --text " + session: "recorded-日本", "audit verify": "lines in", "audit show": session} {
		if out := m.cli(t, root, args); !strings.Contains(out, want) {
			t.Errorf("ssm-cli %s printed %q", args, out)
		}
	}
}

// cli is what ssm-cli prints of the agent below root.
func (m wine) cli(t *testing.T, root, args string) string {
	t.Helper()
	p := m.windows("amazon-ssm-agent.exe", append([]string{"ssm-cli", "-root", `C:\` + filepath.Base(root)}, strings.Fields(args)...)...)
	p.wait()
	if p.err != nil {
		t.Fatalf("ssm-cli %s: %v, it printed %q", args, p.err, p.output())
	}
	return p.output()
}

// wineKilled: with the session's worker all that the session runs ends, and the
// service learns that the session was lost.
func (p *plane) wineKilled(t *testing.T, id string) {
	before := processes("cmd.exe") // one keeps wine's services up
	pe := sit(t, p.shell(p.url, id, "-document", "Cmd"), 90, 25)
	session := pe.sees(`\[session (\S+) on`)[1]
	pe.sees(`C:\\.*>`)
	pe.types("cmd /k echo second-^shell\n")
	pe.sees("second-shell")
	workers := processes("ssm-session-worker")
	if shells := processes("cmd.exe"); len(workers) != 1 || len(shells) < len(before)+2 {
		t.Fatalf("session workers %v, shells %v, before %v", workers, shells, before)
	}
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	nothingOfSessions(t)
	eventually(t, "the shells to be gone", func() bool { return len(processes("cmd.exe")) == len(before) })
	eventually(t, "the session to be over", func() bool {
		s, ok := p.history(id, 11)[session]
		return ok && s.Status == types.SessionStatusFailed
	})
	pe.ends()
}

// wineHandles: sessions leave no handle in the agent.
func (m wine) wineHandles(t *testing.T, p *plane, id, root string) {
	sessions := 50
	if n, err := strconv.Atoi(os.Getenv("SSMAGENT_SESSIONS")); err == nil && n > 0 {
		sessions = n
	}
	pid := regexp.MustCompile(`process (\d+)`).FindStringSubmatch(m.cli(t, root, "status"))
	if pid == nil {
		t.Fatal("ssm-cli status names no process")
	}
	handles := func() (n int) {
		counter := m.windows("handles.exe", pid[1])
		counter.wait()
		if _, err := fmt.Sscanf(counter.output(), "handles: %d", &n); err != nil {
			t.Fatalf("%q: %v", counter.output(), err)
		}
		return n
	}
	p.wineCrowd(t, id, 5)
	nothingOfSessions(t)
	before := handles()
	p.wineCrowd(t, id, sessions)
	nothingOfSessions(t)
	// A few are of threads that the runtime made meanwhile.
	after := 0
	eventually(t, fmt.Sprintf("no more than %d handles to be left", before), func() bool {
		after = handles()
		return after <= before+10
	})
	t.Logf("%d handles before, %d after %d sessions", before, after, sessions)
}

// wineCrowd runs commands, a few at once.
func (p *plane) wineCrowd(t *testing.T, id string, sessions int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(5)
	for range sessions {
		g.Go(func() error {
			if out, err := p.local(p.url, "exec", id, "--", "exit", "0").CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
