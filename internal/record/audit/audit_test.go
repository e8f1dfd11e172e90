package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

const dir = "/data/audit"

// lab is a disk with several processes on it.
type lab struct {
	t    testing.TB
	disk *fsystest.Disk
	lock sync.Mutex
	opt  Options
	said bytes.Buffer
}

func newLab(t testing.TB) *lab {
	l := &lab{t: t, disk: fsystest.NewDisk()}
	l.opt = Options{
		Dir: dir, FS: l.disk, Clock: clock.NewFake(time.Unix(1_700_000_000, 0)), Log: slog.New(slog.NewTextHandler(&l.said, nil)),
		Lock: func(string) (func(), error) { l.lock.Lock(); return l.lock.Unlock, nil },
	}
	return l
}

func (l *lab) process() *Log { return New(l.opt) }

func (l *lab) write(n int) {
	l.t.Helper()
	log := l.process()
	for i := range n {
		if err := log.Append(Event{Kind: CommandFinished, Command: fmt.Sprint("c", i), Status: "Success"}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) files() []string {
	names, err := l.process().files()
	if err != nil {
		l.t.Fatal(err)
	}
	return names
}

func (l *lab) read(name string) []byte {
	b, err := fsys.ReadFile(l.disk, dir+"/"+name, 1<<30)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// forge changes a file as somebody with an editor would.
func (l *lab) forge(name string, change func(lines []string) []string) {
	l.t.Helper()
	lines := strings.SplitAfter(string(l.read(name)), "\n")
	if err := fsys.WriteFile(l.disk, dir+"/"+name, []byte(strings.Join(change(lines[:len(lines)-1]), "")), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) verify() Report {
	l.t.Helper()
	r, err := l.process().Verify()
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// clean wants no faults, and so many lines.
func (l *lab) clean(lines int64) Report {
	l.t.Helper()
	r := l.verify()
	if len(r.Faults) > 0 || r.Last != lines {
		l.t.Fatalf("%d lines, want %d; faults %v", r.Last, lines, r.Faults)
	}
	return r
}

func TestChain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.write(3)
	l.write(2) // another process
	r := l.clean(5)
	if r.Files != 1 || r.Lines != 5 || len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
	want := `{"seq":1,"time":"2023-11-14T22:13:20Z","prev":"` + strings.Repeat("0", 64) + `","event":"command.finished","command":"c0","status":"Success"}`
	text := l.read(l.files()[0])
	if line, _, _ := bytes.Cut(text, []byte("\n")); string(line) != want {
		t.Errorf("first line %s\nwant       %s", line, want)
	}
	for _, name := range []string{l.files()[0], anchorFile} {
		if fi, err := l.disk.Lstat(dir + "/" + name); err != nil || fi.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
	}
	if fi, err := l.disk.Lstat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v %v", fi.Mode(), err)
	}
	var seen []string
	if err := l.process().Each(func(ln Line) error { seen = append(seen, ln.Command); return nil }); err != nil || !slices.Equal(seen, []string{"c0", "c1", "c2", "c0", "c1"}) {
		t.Errorf("%v %v", seen, err)
	}
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func([]string) []string
		want   string
	}{
		{"changed", func(s []string) []string { s[3] = strings.Replace(s[3], "Success", "Failed", 1); return s }, "line 4: it was changed"},
		{"first changed", func(s []string) []string { s[0] = strings.Replace(s[0], "Success", "Failed", 1); return s }, "line 1: it was changed"},
		{"last changed", func(s []string) []string { s[9] = strings.Replace(s[9], "Success", "Failed", 1); return s }, "line 10: the last line was changed"},
		{"no JSON", func(s []string) []string { s[3] = "hello\n"; return s }, "line 4: it cannot be read"},
		{"missing", func(s []string) []string { return slices.Delete(s, 4, 6) }, "lines 5 to 6 are missing"},
		{"beginning missing", func(s []string) []string { return s[2:] }, "lines 1 to 2 are missing at the beginning"},
		{"reordered", func(s []string) []string { s[4], s[5] = s[5], s[4]; return s }, "the order was changed"},
		{"doubled", func(s []string) []string { return slices.Insert(s, 4, s[3]) }, "the order was changed"},
		{"cut off", func(s []string) []string { return s[:8] }, "lines at the end are missing"},
		{"emptied", func([]string) []string { return nil }, "lines at the end are missing"},
		{"invented", func(s []string) []string { return slices.Insert(s, 4, strings.Replace(s[4], "c4", "cx", 1)) }, "the order was changed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, later := range []int{0, 1, 20} { // events that are written after the forgery do not hide it
				l := newLab(t)
				l.write(10)
				l.forge(l.files()[0], tc.change)
				l.write(later)
				r := l.verify()
				want := tc.want
				if later > 0 {
					want = map[string]string{"cut off": "lines 9 to 10 are missing", "emptied": "lines 1 to 10 are missing", "last changed": "line 10: it was changed"}[tc.name]
					if want == "" {
						want = tc.want
					}
				}
				if !slices.ContainsFunc(r.Faults, func(f Fault) bool { return strings.Contains(f.String(), want) }) {
					t.Errorf("%d later: faults %v, want %q", later, r.Faults, want)
				}
			}
		})
	}
}

func TestAnchorForged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.write(4)
	whole := l.read(anchorFile)
	for name, change := range map[string]func() error{
		"removed": func() error { return l.disk.Remove(dir + "/" + anchorFile) },
		"damaged": func() error { return fsys.WriteFile(l.disk, dir+"/"+anchorFile, []byte("x"), 0o600) },
		"of another line": func() error {
			return fsys.WriteFile(l.disk, dir+"/"+anchorFile, newAnchor(3, first()).slot(), 0o600)
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if r := l.verify(); len(r.Faults) != 1 {
			t.Errorf("%s: %v", name, r.Faults)
		}
		if err := fsys.WriteFile(l.disk, dir+"/"+anchorFile, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		l.clean(4)
	}
	// What is written later does not heal it.
	if err := l.disk.Remove(dir + "/" + anchorFile); err != nil {
		t.Fatal(err)
	}
	l.write(3)
	if r := l.verify(); len(r.Faults) != 1 || r.Faults[0].Line != 5 || r.Last != 8 {
		t.Errorf("later: %+v", r)
	}
}

func TestFilesGoOn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opt.MaxFile, l.opt.MaxFiles = 1000, 3
	l.write(30)
	if n := len(l.files()); n != 3 {
		t.Fatalf("%d files", n)
	}
	r := l.verify()
	if len(r.Faults) > 0 || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "made room") {
		t.Fatalf("%+v", r)
	}
	// The same made by hand is found: the log does not speak of it.
	if err := l.disk.Remove(dir + "/" + l.files()[1]); err != nil {
		t.Fatal(err)
	}
	if r := l.verify(); len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Text, "missing") {
		t.Errorf("%v", r.Faults)
	}
	if err := l.disk.Remove(dir + "/" + l.files()[0]); err != nil {
		t.Fatal(err)
	}
	if r := l.verify(); len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Text, "at the beginning") {
		t.Errorf("%v", r.Faults)
	}
}

// Whatever instant the machine stops at, and whatever part of what was not
// synced the disk has: every event that was said to be durable is there, the
// chain has no fault, and writing goes on.
func TestCrashes(t *testing.T) {
	t.Parallel()
	count := func(l *lab) (ops int) {
		l.opt.MaxFile = 900
		l.write(8)
		return l.disk.Ops()
	}
	total := count(newLab(t))
	for stop := 1; stop <= total; stop++ {
		for _, keep := range []fsystest.Keep{fsystest.Nothing(), fsystest.All(), fsystest.Some(uint64(stop)), fsystest.Some(uint64(1000 + stop))} {
			l := newLab(t)
			l.opt.MaxFile = 900
			l.disk.StopAt(stop)
			log := l.process()
			durable := int64(0)
			for i := range 8 {
				if log.Append(Event{Kind: Copy, Target: fmt.Sprint("/f", i)}) == nil {
					durable++
				}
			}
			l.disk.Crash(keep)
			if _, err := l.disk.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
				if durable > 0 {
					t.Fatalf("stop %d: all is lost", stop)
				}
				continue
			}
			r := l.verify()
			if len(r.Faults) > 0 || r.Last < durable {
				t.Fatalf("stop %d: %d of %d lines; faults %v, notes %v\n%v", stop, r.Last, durable, r.Faults, r.Notes, l.disk)
			}
			l.write(2)
			if r = l.verify(); len(r.Faults) > 0 || r.Last < durable+2 {
				t.Fatalf("stop %d, gone on: %d of %d lines; faults %v\n%v", stop, r.Last, durable, r.Faults, l.disk)
			}
		}
	}
}

// A process that ends in the midst of a line leaves a torn one: it stays, and
// the log says so.
func TestTornLine(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.write(2)
	name := dir + "/" + l.files()[0]
	f, err := l.disk.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(`{"seq":3,"time":"20`)); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if r := l.clean(2); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "cut short") {
		t.Errorf("before: %v", r.Notes)
	}
	l.write(1)
	if r := l.clean(5); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "line 3: cut short by a crash (19 bytes)") {
		t.Errorf("after: %v", r.Notes)
	}
	// The fragment is evidence too.
	l.forge(l.files()[0], func(s []string) []string { s[2] = "{\"seq\":3,\"time\":\"19\n"; return s })
	if r := l.verify(); len(r.Faults) == 0 {
		t.Error("a changed fragment is not found")
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.write(1)
	l.disk.SetSpace(10)
	log := l.process()
	if err := log.Append(Event{Kind: RecordingFailed, Session: "s", Detail: "disk full"}); err != nil {
		t.Fatalf("the reserve does not help: %v", err)
	}
	l.disk.SetSpace(10)
	for range 3 {
		if err := log.Append(Event{Kind: Forward, Target: "lost"}); !errors.Is(err, fsys.ErrNoSpace) {
			t.Fatal(err)
		}
	}
	if !strings.Contains(l.said.String(), "is lost") {
		t.Errorf("nobody is told: %s", &l.said)
	}
	l.clean(2)
	l.disk.SetSpace(-1)
	if err := log.Append(Event{Kind: SessionEnd}); err != nil {
		t.Fatal(err)
	}
	if r := l.clean(3); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "3 events before it") {
		t.Errorf("%v", r.Notes)
	}
	if _, err := l.disk.Lstat(dir + "/" + reserveFile); err != nil {
		t.Errorf("the reserve is not made again: %v", err)
	}
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var wg sync.WaitGroup
	for range 5 { // processes
		log := l.process()
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if err := log.Append(Event{Kind: SessionStart}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			var last func() error
			for range 10 {
				last = log.Post(Event{Kind: SessionEnd})
			}
			log.Close()
			if err := last(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l.clean(5*4*5 + 5*10)
}

func TestOrderOfPosts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	log := l.process()
	for i := range 100 {
		log.Post(Event{Kind: Forward, Traffic: Traffic{Connections: i + 1}})
	}
	log.Close()
	i := 0
	if err := log.Each(func(ln Line) error {
		if i++; ln.Connections != i {
			return fmt.Errorf("%d at %d", ln.Connections, i)
		}
		return nil
	}); err != nil || i != 100 {
		t.Error(i, err)
	}
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	long := strings.Repeat("\x01漢\xff\n\"", 10_000)
	e := Event{Kind: SessionStart, Session: long, Command: long, Type: long, Document: long, Node: long, Owner: long, User: long, Target: long,
		Direction: long, Status: long, Detail: long, Recording: long, Digest: long, Hash: long}
	if err := l.process().Append(e); err != nil {
		t.Fatal(err)
	}
	l.clean(1)
	if b := l.read(l.files()[0]); bytes.Count(b, []byte("\n")) != 1 || len(b) > maxLine {
		t.Errorf("%d bytes, %d line feeds", len(b), bytes.Count(b, []byte("\n")))
	}
}

func TestNilLog(t *testing.T) {
	t.Parallel()
	var l *Log
	if err := l.Append(Event{}); err != nil {
		t.Error(err)
	}
	l.Close()
}

func TestLockFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opt.Lock = func(string) (func(), error) { return nil, errors.New("no locks today") }
	if err := l.process().Append(Event{Kind: Copy}); err == nil || !strings.Contains(err.Error(), "no locks today") {
		t.Error(err)
	}
}

// FuzzVerify: whatever lies in the files, reading ends, says so, and writing
// goes on behind it.
func FuzzVerify(f *testing.F) {
	l := newLab(f)
	l.write(3)
	f.Add(l.read(l.files()[0]), l.read(anchorFile))
	f.Add([]byte("{}\n\n{\"seq\":9e18}"), []byte("00000000 1 x"))
	f.Fuzz(func(t *testing.T, log, anchor []byte) {
		l := newLab(t)
		if err := fsys.MkdirAll(l.disk, dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{fileName(1): log, anchorFile: anchor} {
			if err := fsys.WriteFile(l.disk, dir+"/"+name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l.verify()
		if err := l.process().Append(Event{Kind: Copy}); err != nil {
			t.Fatal(err)
		}
		l.verify()
	})
}
