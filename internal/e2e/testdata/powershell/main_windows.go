// Command powershell stands where Windows has PowerShell, for tests under wine:
// it says how it was called and does next to nothing. A script that is a file
// is printed; its lines "exit N" and "await HOST:PORT" are obeyed. Without arguments
// it talks on the console, whose size it tells when asked for; with "exit" and a
// number it hands on what it is given first. Under another program's name it stands
// for that one.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

func main() {
	args := os.Args[1:]
	if program := filepath.Base(os.Args[0]); !strings.HasPrefix(strings.ToLower(program), "powershell") {
		os.Exit(other(program, args))
	}
	if len(args) == 1 && args[0] == sleeper {
		<-time.After(time.Hour)
	}
	if i := slices.Index(args, "-f"); i >= 0 && i+1 < len(args) {
		os.Exit(script(args[i+1], args[:i]))
	}
	// Wine attaches a program to its console, but hands it no files.
	in, out := console("CONIN$", os.Stdin), console("CONOUT$", os.Stdout)
	if len(args) > 0 {
		fmt.Fprintf(out, "called with %q\n", args)
		if args[0] == "exit" {
			fmt.Fprintln(os.Stderr, "this is standard error")
			_, _ = io.Copy(os.Stdout, os.Stdin)
		}
		code := exitCode(strings.Join(args, " "), 0)
		for _, a := range args {
			code = exitCode(a, code)
		}
		os.Exit(code)
	}
	os.Exit(talk(in, out))
}

// console is f when that is a pipe, else the console by its name.
func console(name string, f *os.File) *os.File {
	if t, err := windows.GetFileType(windows.Handle(f.Fd())); err == nil && t == windows.FILE_TYPE_PIPE {
		return f
	}
	if c, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
		return c
	}
	return f
}

func script(file string, before []string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 90
	}
	text, marked := bytes.CutPrefix(b, []byte("\xef\xbb\xbf"))
	fmt.Printf("called with %q, marked as UTF-8: %v\n%s\n", before, marked, text)
	fmt.Fprintln(os.Stderr, "this is standard error")
	code := 0
	for line := range strings.Lines(string(text)) {
		code = obey(file, strings.TrimSpace(line), code)
	}
	return code
}

// sleeper is the word by which this program does nothing for long.
const sleeper = "ssmagent-sleeper"

// obey does what a line of a script says, and has the code that it leaves.
func obey(file, line string, code int) int {
	switch line {
	case "print-bytes": // no text in any code page that a terminal may have
		_, _ = os.Stdout.Write([]byte{'<', 0x81, 0xff, '>'})
	case "restart-once":
		mark, err := os.OpenFile(file+".again", os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = mark.Close()
			return 3010
		}
	case "start-and-wait":
		exe, err := os.Executable()
		c := exec.Command(exe, sleeper)
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 92
		}
		fmt.Println("started")
		_ = c.Wait()
	}
	await(line)
	return exitCode(line, code)
}

// other stands where another program is, under whose name this one runs: it
// notes how it was called, and stays when that one would.
func other(program string, args []string) int {
	fmt.Printf("called with %q\n", args)
	exe, err := os.Executable()
	if err == nil {
		err = os.WriteFile(exe+".noted", []byte(strings.Join(args, " ")+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 93
	}
	if strings.HasPrefix(program, "AWS.CloudWatch") {
		<-time.After(time.Hour)
	}
	return 0
}

// await connects to where a line "await HOST:PORT" says, and waits until the other
// end hangs up.
func await(line string) {
	addr, ok := strings.CutPrefix(line, "await ")
	if !ok {
		return
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(92)
	}
	defer c.Close()
	_, _ = io.Copy(io.Discard, c) // its end is all that counts
}

// exitCode is what a line says, code when it is about something else.
func exitCode(line string, code int) int {
	if n, ok := strings.CutPrefix(line, "exit "); ok {
		code, _ = strconv.Atoi(n)
	}
	return code
}

func talk(in io.Reader, out *os.File) int {
	s := bufio.NewScanner(in)
	for {
		fmt.Fprint(out, "PS>") // no blanks anywhere: consoles paint them as movements
		if !s.Scan() {
			return 91
		}
		switch line := s.Text(); {
		case line == "size":
			var i windows.ConsoleScreenBufferInfo
			err := windows.GetConsoleScreenBufferInfo(windows.Handle(out.Fd()), &i)
			fmt.Fprintf(out, "size=%dx%d,%v\n", i.Window.Right-i.Window.Left+1, i.Window.Bottom-i.Window.Top+1, err)
		case strings.HasPrefix(line, "exit "):
			return exitCode(line, 0)
		default:
			fmt.Fprintf(out, "read=%s.\n", line)
		}
	}
}
