package users

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"ssmagent/platform/secfile"
)

// hold has the test binary be a session: it enters, says so, and leaves when
// its input ends.
const hold = "SSMAGENT_USERS_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(hold); dir != "" {
		os.Exit(session(dir))
	}
	os.Exit(m.Run())
}

func session(dir string) int {
	_, leave, err := recorded(dir, os.Getenv(hold+"_KEY")).Enter(context.Background(), Wish{Sudo: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("in")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := leave(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// recorded are the accounts of the machine that testdata/recorder makes up.
func recorded(dir, key string) *Local {
	dll := windows.NewLazySystemDLL("netapi32.dll")
	return &Local{
		fs: secfile.OS(), dir: dir, log: slog.New(slog.DiscardHandler),
		sys: system{netapi: dll, advapi: dll, productKey: key, directoryService: "ssmagent-none"},
	}
}

// bed is a machine, whose accounts are those of the recorder.
type bed struct {
	*Local
	t       *testing.T
	machine string          // the recorder's folder
	said    strings.Builder // its log
}

// state is the account as the recorder keeps it.
type state struct {
	Exists, Flags, Member uint32
	Password              [257]uint16
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() != nil {
		t.Skip("these tests would change the accounts of a Windows machine: make test-windows runs them under wine, with a library that records what it is told")
	}
	if err := windows.NewLazySystemDLL("netapi32.dll").NewProc("RecorderTokens").Find(); err != nil {
		t.Fatalf("wine's own netapi32.dll is in place of the one of testdata/recorder (scripts/recorder.sh sees to that): %v", err)
	}
	key := `SOFTWARE\ssmagent ` + filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid())
	b := &bed{Local: recorded(t.TempDir(), key), t: t, machine: t.TempDir()}
	b.Local.log = slog.New(slog.NewTextHandler(&b.said, nil))
	t.Setenv("SSMAGENT_RECORDER", b.machine)
	t.Setenv(hold+"_KEY", key)
	b.product("ServerNT")
	t.Cleanup(func() {
		if err := registry.DeleteKey(registry.LOCAL_MACHINE, key); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bed) product(kind string) {
	b.t.Helper()
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, b.sys.productKey, registry.SET_VALUE)
	if err != nil {
		b.t.Fatal(err)
	}
	defer k.Close()
	if err := k.SetStringValue("ProductType", kind); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.machine, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// fails has a call answer with code, so many times, -1: always; from now on it
// does nothing else.
func (b *bed) fails(call string, code uint32, times int) {
	b.t.Helper()
	b.write("fault."+call, fmt.Sprintf("%d %d", code, times))
}

func (b *bed) state() (s state) {
	b.t.Helper()
	f, err := os.Open(filepath.Join(b.machine, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if err := binary.Read(f, binary.LittleEndian, &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// has puts an account there, made by hand.
func (b *bed) has(s state) {
	b.t.Helper()
	f, err := os.Create(filepath.Join(b.machine, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	s.Exists = 1
	if err := binary.Write(f, binary.LittleEndian, s); err != nil {
		b.t.Fatal(err)
	}
}

// calls are those that were made since it was asked last.
func (b *bed) calls() []string {
	b.t.Helper()
	file := filepath.Join(b.machine, "calls")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		b.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r", "")), "\n")
}

func (b *bed) enters(w Wish) (Account, func()) {
	b.t.Helper()
	a, leave, err := b.Enter(b.t.Context(), w)
	if err != nil {
		b.t.Fatal(err)
	}
	return a, func() {
		b.t.Helper()
		if err := leave(); err != nil {
			b.t.Error(err)
		}
	}
}

// session is one from its beginning to its end.
func (b *bed) session(w Wish) {
	b.t.Helper()
	_, leave := b.enters(w)
	leave()
}

// idle checks that nothing is left of sessions that are over.
func (b *bed) idle() {
	b.t.Helper()
	if s := b.state(); s.Exists == 1 && s.Flags&flagDisabled == 0 {
		b.t.Errorf("the account is left enabled: flags %#x", s.Flags)
	}
	if r, err := b.load(); err != nil || r.Enabled {
		b.t.Errorf("remembered %+v, %v", r, err)
	}
	b.leaksNothing()
}

func (b *bed) leaksNothing() {
	b.t.Helper()
	dll := windows.NewLazySystemDLL("netapi32.dll")
	tokens, _, _ := dll.NewProc("RecorderTokens").Call()
	buffers, _, _ := dll.NewProc("RecorderOutstanding").Call()
	if tokens != 0 || buffers != 0 {
		b.t.Errorf("%d tokens and %d buffers are left", tokens, buffers)
	}
}

// keepsNo checks that a password is in no file of the agent's.
func (b *bed) keepsNo(password string) {
	b.t.Helper()
	wide := make([]byte, 0, 2*len(password))
	for _, c := range utf16.Encode([]rune(password)) {
		wide = binary.LittleEndian.AppendUint16(wide, c)
	}
	files, err := os.ReadDir(b.dir)
	if err != nil || len(files) == 0 {
		b.t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(b.dir, f.Name()))
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.Contains(string(text), password) || strings.Contains(string(text), string(wide)) {
			b.t.Errorf("the password is in %s", f.Name())
		}
	}
	if strings.Contains(b.said.String(), password) {
		b.t.Error("the password is in the log")
	}
}

// sitting is a session in a process of its own.
type sitting struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (b *bed) sits() *sitting {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	s := &sitting{cmd: exec.CommandContext(b.t.Context(), self)}
	s.cmd.Env = append(os.Environ(), hold+"="+b.dir)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (s *sitting) seated(t *testing.T) {
	t.Helper()
	if line, err := s.out.ReadString('\n'); strings.TrimSpace(line) != "in" {
		t.Fatalf("%q, %v", line, err)
	}
}

func (s *sitting) ends(t *testing.T) {
	t.Helper()
	s.in.Close()
	rest, _ := io.ReadAll(s.out)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, rest)
	}
}

func (s *sitting) killed(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
}
