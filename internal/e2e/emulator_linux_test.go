package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// The type of terminal that programs believe to be on.
const termType = "screen-256color"

// emulator is a tmux server of our own: the terminal emulator in which clients
// of both kinds run side by side.
type emulator struct {
	t      *testing.T
	dir    string
	client [2][]string // command lines: ours, and ssh to a real sshd
}

// modes is tmux's format of all of a screen but its cells.
const modes = "size=#{pane_width}x#{pane_height} cursor=#{cursor_x},#{cursor_y} shown=#{cursor_flag} alternate=#{alternate_on} keypad=#{keypad_flag}" +
	" keys=#{keypad_cursor_flag} insert=#{insert_flag} origin=#{origin_flag} wrap=#{wrap_flag}" +
	" scroll=#{scroll_region_upper}-#{scroll_region_lower} mouse=#{mouse_any_flag} ended=#{pane_dead}"

// escape finds what tmux writes between the cells of a screen.
var escape = regexp.MustCompile(`\x1b(\[[0-9;]*m|\(B)|[\x0e\x0f]`)

// kinds names the two sides of a pair.
var kinds = [2]string{"ssm", "ssh"}

// newEmulator starts tmux, a node of ours and what a client of sshd needs.
func newEmulator(t *testing.T) *emulator {
	t.Helper()
	for _, tool := range []string{"tmux", "ssh", "ssh-keygen", "vi", "less", "top"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("needs %s: run `make test`, which installs it", tool)
		}
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	m := &emulator{t: t, dir: t.TempDir()}
	m.client = [2][]string{{filepath.Join(bin, "ssm-local"), "shell", "-root", p.root, n.id}, m.sshd()}
	m.tmux(t, "new-session", "-d", "-s", "keeps-the-server", "cat", ";", "set", "-g", "status", "off", ";",
		"set", "-g", "remain-on-exit", "on", ";", "set", "-g", "default-terminal", termType)
	t.Cleanup(func() { m.tmux(t, "kill-server") })
	return m
}

// tmux runs one tmux client, which may hold several commands, and returns what
// it printed.
func (m *emulator) tmux(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("tmux", append([]string{"-u", "-f", "/dev/null", "-S", filepath.Join(m.dir, "s")}, args...)...)
	cmd.Env = []string{"HOME=" + m.dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "SHELL=/bin/sh", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// write makes a file that only we may read.
func (m *emulator) write(name, text string) string {
	m.t.Helper()
	return writeFile(m.t, m.dir, name, text)
}

// sshd prepares a real sshd for one connection, and returns the command line of
// the ssh that starts it.
func (m *emulator) sshd() []string {
	m.t.Helper()
	// ForceCommand keeps the start-up files of the user's own shell out.
	d := newSSHD(m.t, m.dir, "ForceCommand exec sh -i\n")
	return append(append([]string{"ssh", "-tt"}, d.client...), "-o", "ProxyCommand="+strings.Join(d.server, " "), "sshd-of-the-test")
}

// pair is two windows of one size: the same keys go to a shell through our
// client and to one through ssh.
type pair struct {
	t    *testing.T
	m    *emulator
	name string
}

// pair opens two shells that run the same program in the same environment.
func (m *emulator) pair(t *testing.T, name string) *pair {
	t.Helper()
	p := &pair{t: t, m: m, name: name}
	for i, k := range kinds {
		m.tmux(t, append([]string{"new-session", "-d", "-x", "80", "-y", "24", "-s", name + "-" + k, "--"}, m.client[i]...)...)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for i, k := range kinds {
			t.Logf("%s:\n%s", k, strings.ReplaceAll(p.screen(i), "\x1b", "␛"))
		}
	})
	p.each("a prompt", func(s string) bool { return regexp.MustCompile(`[#$] *\n`).MatchString(s) })
	p.line("exec env -i TERM=" + termType + " PS1='% ' PATH=/usr/bin:/bin HOME=" + m.dir + " LANG=C.UTF-8 LESSHISTFILE=- sh")
	p.command("ulimit -c 0; cd " + m.dir + `; printf '\033[H\033[2Jrea''dy\n'`)
	p.until("ready")
	p.prompt()
	p.same()
	return p
}

func (p *pair) target(side int) string { return "=" + p.name + "-" + kinds[side] + ":" }

// keys types bytes as they are.
func (p *pair) keys(s string) {
	p.t.Helper()
	for len(s) > 0 {
		n := min(len(s), 500)
		var hex []string
		for _, b := range []byte(s[:n]) {
			hex = append(hex, strconv.FormatInt(int64(b), 16))
		}
		for i := range kinds {
			p.m.tmux(p.t, append([]string{"send-keys", "-t", p.target(i), "-H"}, hex...)...)
		}
		s = s[n:]
	}
}

// line types a line.
func (p *pair) line(s string) { p.t.Helper(); p.keys(s + "\r") }

// command types a line once the shell waits for one: typed ahead, its echo may
// stand anywhere, under SSH too.
func (p *pair) command(s string) { p.t.Helper(); p.typed(s + "\r") }

// typed types at a prompt and waits for the first echo, so that the next wait
// for a prompt does not see this one.
func (p *pair) typed(s string) {
	p.t.Helper()
	p.prompt()
	before := [2]string{p.screen(0), p.screen(1)}
	p.keys(s)
	for i, k := range kinds {
		eventually(p.t, "an echo in "+k, func() bool { return p.screen(i) != before[i] })
	}
}

// prompt waits until both cursors stand behind a prompt.
func (p *pair) prompt() {
	p.t.Helper()
	p.each("a prompt at the cursor", func(s string) bool {
		s = escape.ReplaceAllString(s, "")
		rows := strings.Split(s, "\n")
		for i, row := range rows {
			if row == "%" && strings.Contains(s, fmt.Sprintf(" cursor=2,%d ", i)) {
				return true
			}
		}
		return false
	})
}

// press presses a key of the emulator n times: which bytes that sends depends
// on what the program told the emulator.
func (p *pair) press(n int, key string) {
	p.t.Helper()
	for i := range kinds {
		p.m.tmux(p.t, "send-keys", "-t", p.target(i), "-N", strconv.Itoa(n), key)
	}
}

func (p *pair) resize(x, y int) {
	p.t.Helper()
	for i := range kinds {
		p.m.tmux(p.t, "resize-window", "-t", p.target(i), "-x", strconv.Itoa(x), "-y", strconv.Itoa(y))
	}
}

// screen is all that a person sees: characters, colours, cursor, and the modes
// in which the emulator is.
func (p *pair) screen(side int) string {
	p.t.Helper()
	return p.m.tmux(p.t, "capture-pane", "-p", "-e", "-t", p.target(side), ";", "display-message", "-p", "-t", p.target(side), modes)
}

// each waits until ok says yes of both screens.
func (p *pair) each(what string, ok func(screen string) bool) {
	p.t.Helper()
	for i, k := range kinds {
		eventually(p.t, what+" in "+k, func() bool { return ok(p.screen(i)) })
	}
}

// until waits for a text on both screens.
func (p *pair) until(text string) {
	p.t.Helper()
	p.each(strconv.Quote(text), func(s string) bool { return strings.Contains(s, text) })
}

// same waits until both screens are the same in all respects.
func (p *pair) same() {
	p.t.Helper()
	eventually(p.t, "the same screen in both", func() bool { return p.screen(0) == p.screen(1) })
}

// end lets the shell write a mark and compares the final screens.
func (p *pair) end() {
	p.t.Helper()
	p.command(`echo TH''END`)
	p.until("THEND")
	p.prompt()
	p.same()
}

// rows waits until the last of y rows of both screens is written: programs
// that fill the screen have then seen the new size.
func (p *pair) rows(y int) {
	p.t.Helper()
	p.each(fmt.Sprintf("row %d", y), func(s string) bool {
		rows := strings.Split(s, "\n")
		return len(rows) > y && strings.TrimSpace(rows[y-1]) != ""
	})
}
