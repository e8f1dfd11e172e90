package shelltest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// interpreter is the fake's shell.
type interpreter struct {
	t           *tty
	p           *process
	script      string
	prompt      string
	interactive bool
	lastPID     int // $!
	code        int // of the last command
	done        bool
	ignoreHUP   bool
}

func (s *interpreter) main() {
	if s.interactive {
		s.talk()
	} else {
		s.run(s.script)
	}
	s.t.end(s.p, s.code)
}

// talk reads lines until exit or an end of file.
func (s *interpreter) talk() {
	s.t.mu.Lock()
	s.t.deaf = true
	s.t.mu.Unlock()
	for !s.done {
		if !s.t.print(s.p, []byte(s.prompt)) {
			return
		}
		line, ok := s.t.take(s.p)
		if !ok || len(line) == 0 {
			return
		}
		s.run(string(line))
	}
}

// run runs commands one after the other.
func (s *interpreter) run(script string) {
	words := strings.Fields(strings.NewReplacer(";", " ; ", "\n", " ; ").Replace(script))
	var args []string
	for _, w := range append(words, ";") {
		switch {
		case w == ";" || w == "&":
			if len(args) > 0 && !s.done && s.alive() {
				s.command(args, w == "&")
			}
			args = nil
		case strings.ContainsAny(w, "<>"): // there are no files
		default:
			args = append(args, w)
		}
	}
}

func (s *interpreter) alive() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.p.signal == ""
}

// command runs one command: what changes the shell itself at once, all else as
// a process.
func (s *interpreter) command(args []string, background bool) {
	for i, a := range args {
		a = strings.ReplaceAll(a, "$$", strconv.Itoa(s.p.pid))
		args[i] = strings.ReplaceAll(a, "$!", strconv.Itoa(s.lastPID))
	}
	switch args[0] {
	case "exit":
		if len(args) > 1 {
			s.code, _ = strconv.Atoi(args[1])
		}
		s.done = true
		return
	case "trap": // '' HUP, the only one
		s.ignoreHUP = true
		s.t.ignoreHangup(s.p)
		return
	case "kill":
		s.kill(args[1:])
		return
	case "read":
		if b, ok := s.t.take(s.p); !ok || len(b) == 0 {
			s.code = 1
		}
		return
	}
	nohup := args[0] == "nohup"
	if nohup {
		args = args[1:]
	}
	p := s.t.start(nohup || s.ignoreHUP)
	if background {
		s.lastPID, s.code = p.pid, 0
		s.t.running.Go(func() { s.t.end(p, s.program(p, args)) })
		return
	}
	s.t.setForeground(p)
	s.code = s.program(p, args)
	s.t.setForeground(nil)
	s.t.end(p, s.code)
	if p.signal != "" {
		s.code = 128
		if s.interactive && s.alive() {
			s.t.print(s.p, []byte("\n"))
		}
	}
}

func (t *tty) setForeground(p *process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.foreground = p
	if p != nil && t.interrupted { // the key was pressed as it started
		t.interrupted = false
		t.signal(p, "interrupt")
	}
}

func (t *tty) ignoreHangup(p *process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.nohup = true
}

// kill takes -NAME and a pid of this terminal.
func (s *interpreter) kill(args []string) {
	names := map[string]string{"-KILL": "killed", "-TERM": "terminated", "-HUP": "hangup", "-INT": "interrupt"}
	s.code = 1
	if len(args) != 2 || names[args[0]] == "" {
		return
	}
	pid, _ := strconv.Atoi(args[1])
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for p := range s.t.procs {
		if p.pid == pid {
			s.t.signal(p, names[args[0]])
			s.code = 0
		}
	}
}

// program is what a process runs; it returns its exit code.
func (s *interpreter) program(p *process, args []string) int {
	switch args[0] {
	case "true":
	case "false":
		return 1
	case "echo":
		s.t.print(p, []byte(strings.Join(args[1:], " ")+"\n"))
	case "cat":
		for b, ok := s.t.take(p); ok && len(b) > 0; b, ok = s.t.take(p) {
			s.t.print(p, b)
		}
	case "seq":
		return s.seq(p, args[1:])
	case "sleep":
		if len(args) < 2 {
			return 1
		}
		seconds, err := strconv.ParseFloat(args[1], 64)
		if err != nil {
			return 1
		}
		s.t.sleep(p, time.Duration(seconds*float64(time.Second)))
	case "stty":
		return s.stty(p, args[1:])
	default:
		s.t.print(p, []byte("sh: 1: "+args[0]+": not found\n"))
		return 127
	}
	return 0
}

func (s *interpreter) seq(p *process, args []string) int {
	if len(args) != 2 {
		return 1
	}
	from, err1 := strconv.Atoi(args[0])
	to, err2 := strconv.Atoi(args[1])
	if err1 != nil || err2 != nil {
		return 1
	}
	var b bytes.Buffer
	for i := from; i <= to; i++ {
		fmt.Fprintln(&b, i)
		if b.Len() > 4000 || i == to {
			if !s.t.print(p, b.Bytes()) {
				return 1
			}
			b.Reset()
		}
	}
	return 0
}

func (s *interpreter) stty(p *process, args []string) int {
	for _, a := range args {
		s.t.mu.Lock()
		rows, cols := s.t.rows, s.t.cols
		switch a {
		case "raw":
			s.t.raw = true
		case "-echo":
			s.t.echo = false
		}
		s.t.mu.Unlock()
		if a == "size" {
			s.t.print(p, fmt.Appendf(nil, "%d %d\n", rows, cols))
		}
	}
	return 0
}
