package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTerminalAsUnderSSH types the same keys into a shell of ours and into one
// behind a real sshd, both in one terminal emulator, and wants the same screen.
func TestTerminalAsUnderSSH(t *testing.T) {
	t.Parallel()
	m := newEmulator(t)
	m.write("page", page(500))
	for name, keys := range map[string]func(*pair){
		"settings": settings, "bytes": everyByte, "characters": characters, "invalid": invalid, "flood": flood,
		"interrupt": interrupt, "suspend": suspend, "stop": stop, "quit": quit, "discard": discard, "tilde": tilde,
		"arrows": arrows, "vi": vi, "less": less, "top": top,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys(m.pair(t, name))
		})
	}
}

// page is a file to look at: numbered lines, long ones, wide characters.
func page(lines int) string {
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "line %d. %s|\t漢字🙂 é %s\n", i+1, strings.Repeat("ab ", i%40), strings.Repeat("字", i%7))
	}
	return b.String()
}

// settings compares what programs find: the terminal's modes and special
// keys, its size before and after a resize, blocked and ignored signals.
func settings(p *pair) {
	p.command("stty -a; grep Sig[BI] /proc/self/status")
	p.end()
	p.resize(100, 30)
	p.command(`until [ "$(stty size)" = '30 100' ]; do :; done; echo gro''wn`) // keys may overtake the size, under SSH too
	p.until("grown")
	p.resize(61, 17)
	p.command(`until [ "$(stty size)" = '17 61' ]; do :; done; echo shru''nk`)
	p.until("shrunk")
	p.end()
}

// everyByte types each of the 256 bytes into a program that wants them raw.
func everyByte(p *pair) {
	p.command(`stty raw -echo; echo ru''n; dd bs=1 count=256 of=bytes.$$ 2>/dev/null; stty sane; od -An -v -tx1 bytes.$$`)
	p.until("run")
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	p.keys(string(all))
	p.until("f8 f9 fa fb fc fd fe ff")
	p.end()
}

// characters types and deletes characters of one to four bytes, of no, one and
// two cells: AltGr, CJK, combining marks, emoji with joiners and flags.
func characters(p *pair) {
	p.command(`echo 'äöüß€łµ@{[]}\~ ſđŋħ'`)
	p.command(`echo '漢字かな交じり文 한국어 ｆｕｌｌ'`)
	p.command("echo '🙂 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 e\u0301 ก็ שלום'")
	p.typed("echo abc€漢🙂e\u0301äł" + "\x7f\x7f\x7f\x7f\x7f" + "x\r") // rubbed out by whole characters
	p.typed("echo lost € 漢\x15echo two words漢字\x17kept\r")           // ^U, ^W
	p.end()
	p.command("echo ru''n; cat -v")
	p.until("run")
	p.keys("ä€漢🙂\x7f\x7fł\r\x04")
	p.end()
}

// invalid shows and types bytes that are not UTF-8.
func invalid(p *pair) {
	p.command(`printf 'a\377\376b\300\200c\355\240\200d\364\220\200\200e\342\202f\200g\n'`)
	p.command(`printf '\342\202'; printf '\254 one character in two writes\n'`)
	p.command(`echo ru''n; od -An -tx1`)
	p.until("run")
	p.keys("a\xff\xfeb\xc0\x80c\xed\xa0\x80d\xe2\x82e\r\x04")
	p.end()
}

// flood prints so much that characters fall on the edges of all buffers.
func flood(p *pair) {
	p.command(`cat page page page page | tr -d '\n' | head -c 300000; echo; printf '\033[31;1mred\033[0m \033[7mreverse\033[0m\n'`)
	p.until("reverse")
	p.end()
}

// interrupt is ^C at a program and at a half typed line.
func interrupt(p *pair) {
	p.command(`sh -c 'echo ru""n; exec sleep 1000'`)
	p.until("run")
	p.keys("typed ahead\x03")
	p.command(`echo status $?`)
	p.until("status 130")
	p.typed("half a line\x03")
	p.end()
}

// suspend is ^Z, and what the shell knows of its jobs afterwards.
func suspend(p *pair) {
	p.command(`sh -c 'echo ru""n; exec sleep 1000'`)
	p.until("run")
	p.keys("\x1a")
	p.until("Stopped")
	p.command(`jobs; fg`)
	p.until("\nsh -c")
	p.keys("\x1a")
	p.command(`echo aga''in; kill %1; fg`)
	p.until("again")
	p.until("Terminated")
	p.end()
}

// stop is ^S, which holds back what a program prints until ^Q. Nothing echoes
// meanwhile: whether a held echo or a held write comes first after ^Q is
// chance, under SSH too.
func stop(p *pair) {
	p.command("stty -echo; echo ru''n; head -n 1 >stop.$$; echo HE''LD; stty echo")
	p.until("run")
	p.keys("\x13typed while stopped\r")
	eventually(p.t, "both programs to have read the line", func() bool {
		read := 0
		made, _ := filepath.Glob(filepath.Join(p.m.dir, "stop.*"))
		for _, name := range made {
			if line, _ := os.ReadFile(name); len(line) > 0 {
				read++
			}
		}
		return read == len(kinds)
	})
	for i, k := range kinds {
		if s := p.screen(i); strings.Contains(s, "HELD") {
			p.t.Errorf("%s prints after ^S:\n%s", k, s)
		}
	}
	p.keys("\x11")
	p.until("HELD")
	p.end()
}

// quit is ^\.
func quit(p *pair) {
	p.command(`sh -c 'echo ru""n; exec sleep 1000'`)
	p.until("run")
	p.keys("\x1c")
	p.command(`echo status $?`)
	p.until("status 131")
	p.end()
}

// discard is ^O and other control characters, alone and quoted by ^V.
func discard(p *pair) {
	p.command(`echo ru''n; cat -v`)
	p.until("run")
	p.keys("a\x0fb\r" + "c\x16\x0fd\r" + "\x01\x02\x05\x06\x07\x08\x0b\x0c\x0e\x10\x14\x18\x19\x1d\x1e\x1f\r" +
		"\x16\x03\x16\x04\x16\x11\x16\x13\x16\x1a\x16\x1c\r" + "again\x12 \x1b[A\r" + "\x04")
	p.end()
}

// tilde is the escape of both clients at the start of a line, where it means
// nothing to them.
func tilde(p *pair) {
	p.command(`echo ru''n; cat >tilde.$$; echo do''ne`)
	p.until("run")
	p.keys("~x\r~~\r~ .\ra~.\r~\r\x04")
	p.until("done")
	p.command(`cat tilde.$$`)
	p.end()
}

// arrows storms through a file: hundreds of keys at once, whose bytes vi
// chose by the mode of the keypad.
func arrows(p *pair) {
	p.command("vi -u NONE -i NONE -n -N page")
	p.until("line 1.")
	p.line(":set ruler")
	p.until("1,1")
	for range 5 {
		p.press(200, "Down")
		p.press(60, "Right")
		p.press(120, "Up")
		p.press(20, "Left")
	}
	p.keys("iAR\x16uROWS")
	p.press(50, "Left")
	p.press(50, "Right")
	p.keys("\x1b")
	p.line(":set ruler?")
	p.until("  ruler")
	p.same()
	p.line(":q!")
	p.end()
}

// vi writes, undoes, and is resized in the midst of it.
func vi(p *pair) {
	p.command("mkdir vi.$$; cp page vi.$$/p; cd vi.$$; vi -u NONE -i NONE -n -N p")
	p.until("line 1.")
	p.keys("gg5jo")
	p.keys("inserted ä€漢字🙂 " + strings.Repeat("long ", 40) + "\x1b")
	p.until("inserted")
	p.resize(100, 35)
	p.rows(35)
	p.line(":set columns? lines?")
	p.until("columns=100")
	p.until("lines=35")
	p.line("")
	p.keys("ddp.uGo\tlast\x1b:sp\r")
	p.until("last")
	p.resize(47, 13)
	p.each("the last window's status in row 12", func(s string) bool {
		rows := strings.Split(s, "\n")
		return len(rows) > 12 && strings.Contains(rows[11], "[+]")
	})
	p.keys("\x0c")
	p.same()
	p.line(":wqa")
	p.each("the shell's screen", func(s string) bool { return strings.Contains(s, "alternate=0") })
	p.command("cksum <p")
	p.end()
}

// less pages through a file and is resized in the midst of it.
func less(p *pair) {
	p.command("less page")
	p.until("line 1.")
	p.keys(" \x06")
	p.press(3, "Down")
	p.press(1, "NPage")
	p.same()
	p.keys("G")
	p.until("line 500.")
	p.resize(101, 33)
	p.rows(33)
	p.keys("100g")
	p.until("line 100.")
	p.line("/line 25.\\.")
	p.until("line 250.")
	p.same()
	p.resize(70, 20)
	p.until("line 250.") // cut off at the top until less paints anew
	p.keys("bkk\x02")
	p.press(1, "PPage")
	p.line("=")
	p.same()
	p.keys("hq")
	p.keys("q")
	p.end()
}

// top looks the same but for the numbers; it is resized too.
func top(p *pair) {
	p.command("top -d 1000")
	topLooks(p, 80)
	p.resize(117, 31)
	topLooks(p, 117)
	p.keys("q")
	p.command(`printf '\033[2J\033[H'`)
	p.end()
}

// topLooks waits until top has filled the width and compares the frame.
func topLooks(p *pair, width int) {
	p.t.Helper()
	number := regexp.MustCompile(` *[0-9][0-9.]*`)
	frame := func(screen string) string {
		rows := strings.Split(screen, "\n")
		for i, row := range rows {
			if !strings.Contains(row, "PID USER") {
				continue
			}
			if len(escape.ReplaceAllString(row, "")) != width {
				return ""
			}
			var f []string
			for _, head := range rows[1:i] { // the first row tells times of any length
				f = append(f, number.ReplaceAllString(escape.ReplaceAllString(head, ""), " #"))
			}
			f = append(f, row, rows[len(rows)-2]) // the columns' names, the cursor and the modes
			return strings.Join(f, "\n")
		}
		return ""
	}
	// With its trailing cells, which tell the width.
	look := func(side int) string {
		return frame(p.m.tmux(p.t, "capture-pane", "-N", "-p", "-e", "-t", p.target(side), ";", "display-message", "-p", "-t", p.target(side), modes))
	}
	for i, k := range kinds {
		eventually(p.t, "top in "+k, func() bool { return look(i) != "" })
	}
	eventually(p.t, "the same frame of top in both", func() bool { return look(0) == look(1) })
}
