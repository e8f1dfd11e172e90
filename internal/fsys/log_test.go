package fsys_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

const maxRecord = 1000

func openLog(t *testing.T, f fsys.FS) (*fsys.Log, [][]byte) {
	t.Helper()
	l, recs, err := fsys.OpenLog(f, "/log", 0o600, maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	return l, recs
}

// What Append acknowledged is there after any crash, in order and whole;
// what it had not finished is there in order from the front, or not at all.
func TestLogSurvivesEveryCrash(t *testing.T) {
	t.Parallel()
	record := func(i int) []byte { return fmt.Appendf(nil, `{"n":%d,"pad":%q}`, i, strings.Repeat("p", 20*i)) }
	acked, tried := 0, 0
	everyStop(t,
		func(*fsystest.Disk) error { acked, tried = 0, 0; return nil },
		func(d *fsystest.Disk) error {
			for range 3 { // three lives of the process, without a crash of the machine
				l, _, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
				if err != nil {
					return err
				}
				for range 3 {
					tried += 3
					if err := l.AppendLazy(record(tried - 2)); err != nil {
						return err
					}
					if err := l.Append(record(tried-1), record(tried)); err != nil {
						return err
					}
					acked = tried
				}
			}
			return nil
		},
		func(t *testing.T, d *fsystest.Disk, _ bool) {
			l, recs, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
			if err != nil {
				t.Error(err)
				return
			}
			if len(recs) < acked || len(recs) > tried {
				t.Errorf("%d records, acknowledged %d, tried %d", len(recs), acked, tried)
			}
			for i, r := range recs {
				if !bytes.Equal(r, record(i+1)) {
					t.Errorf("record %d is %q", i, r)
				}
			}
			// And what Open returned stays, even if the next crash follows at once.
			if err := l.Append([]byte("more")); err != nil {
				t.Error(err)
			}
			d.Crash(fsystest.Nothing())
			if _, again := openLog(t, d); len(again) != len(recs)+1 {
				t.Errorf("%d records after the second crash, want %d", len(again), len(recs)+1)
			}
		})
}

func TestLogOpenMakesDurableWhatItReturns(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	l, _ := openLog(t, d)
	if err := l.AppendLazy([]byte("a")); err != nil {
		t.Fatal(err)
	}
	// Only the process ended, so the log is opened once more.
	if _, recs := openLog(t, d); len(recs) != 1 {
		t.Fatalf("records %q", recs)
	}
	d.Crash(fsystest.Nothing())
	if _, recs := openLog(t, d); len(recs) != 1 {
		t.Errorf("after the machine's crash records are %q", recs)
	}
}

func TestLogRewriteIsAtomic(t *testing.T) {
	t.Parallel()
	var l *fsys.Log
	everyStop(t,
		func(d *fsystest.Disk) error {
			var err error
			if l, _, err = fsys.OpenLog(d, "/log", 0o600, maxRecord); err != nil {
				return err
			}
			return l.Append([]byte("a"), []byte("b"), []byte("c"))
		},
		func(*fsystest.Disk) error {
			if err := l.Rewrite([][]byte{[]byte("c")}); err != nil {
				return err
			}
			return l.Append([]byte("d"))
		},
		func(t *testing.T, d *fsystest.Disk, done bool) {
			_, recs := openLog(t, d)
			got := string(bytes.Join(recs, nil))
			if got != "cd" && (done || got != "abc" && got != "c") {
				t.Errorf("done %v, log holds %q", done, got)
			}
		})
}

func TestLogTellsDamageFromATornEnd(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	l, _ := openLog(t, d)
	for _, r := range []string{"first", "second", "third"} {
		if err := l.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := fsys.ReadFile(d, "/log", 1000)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func(t *testing.T, content []byte) ([][]byte, error) {
		d := fsystest.NewDisk()
		if err := fsys.WriteFile(d, "/log", content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, recs, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
		left, rerr := fsys.ReadFile(d, "/log", 1000)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err != nil && (l != nil || !bytes.Equal(left, content)) {
			t.Errorf("a damaged log was opened or changed")
		}
		return recs, err
	}
	last := bytes.Index(whole, []byte("third")) // its last line begins before this
	for n := range whole {
		recs, err := reopen(t, whole[:n])
		if err != nil {
			t.Errorf("cut at %d: %v", n, err)
		}
		if got := len(recs); got != bytes.Count(whole[:n], []byte("\n")) {
			t.Errorf("cut at %d: %d records", n, got)
		}
	}
	for n := range whole {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		recs, err := reopen(t, flipped)
		// Of what the last line vouches for; a damaged line feed before it
		// takes that line along, and then it looks like an unfinished end.
		damaged := n < bytes.LastIndexByte(whole[:last], '\n')
		if damaged != errors.Is(err, fsys.ErrDamaged) {
			t.Errorf("bit flipped at %d: %v", n, err)
		}
		if len(recs) > 2 {
			t.Errorf("bit flipped at %d and all records are there: %q", n, recs)
		}
	}
}

func TestLogRefusesBadRecords(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	l, _ := openLog(t, d)
	for _, r := range []string{"", "a\nb", strings.Repeat("x", maxRecord+1)} {
		if err := l.Append([]byte(r)); err == nil {
			t.Errorf("took %.10q", r)
		}
		if err := l.Rewrite([][]byte{[]byte(r)}); err == nil {
			t.Errorf("rewrote with %.10q", r)
		}
	}
	if err := l.Append([]byte(strings.Repeat("x", maxRecord))); err != nil {
		t.Error(err)
	}
}

func TestLogGoesOnAfterAFullDisk(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	l, _ := openLog(t, d)
	d.SetSpace(30)
	if err := l.Append([]byte(strings.Repeat("x", 100))); !errors.Is(err, fsys.ErrNoSpace) {
		t.Fatal(err)
	}
	d.SetSpace(-1)
	if err := l.Append([]byte("after")); err != nil {
		t.Fatal(err)
	}
	if _, recs := openLog(t, d); len(recs) != 1 || string(recs[0]) != "after" {
		t.Errorf("records %q", recs)
	}
}

func TestLogTakesNothingAfterAFailedSync(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	l, _ := openLog(t, d)
	boom := errors.New("boom")
	failOn("sync", boom)(d)
	if err := l.Append([]byte("a")); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	d.Fail(nil)
	if err := l.Append([]byte("b")); !errors.Is(err, boom) {
		t.Errorf("went on after a failed sync: %v", err)
	}
}

// slow is a disk whose syncs wait until told, so that callers pile up.
type slow struct {
	*fsystest.Disk
	syncs chan struct{}
}

type slowFile struct {
	fsys.File
	syncs chan struct{}
}

func (s slow) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	f, err := s.Disk.OpenFile(name, flag, perm)
	return slowFile{f, s.syncs}, err
}

func (f slowFile) Sync() error { <-f.syncs; return f.File.Sync() }

func TestLogSharesOneSync(t *testing.T) {
	t.Parallel()
	s := slow{fsystest.NewDisk(), make(chan struct{})}
	l, _ := openLog(t, s)
	const callers = 50
	var wg sync.WaitGroup
	var running sync.WaitGroup
	running.Add(callers)
	for range callers {
		wg.Go(func() {
			running.Done()
			if err := l.Append([]byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	syncs := 0
	for done := false; !done; {
		select {
		case s.syncs <- struct{}{}:
			syncs++
		case <-finished:
			done = true
		}
	}
	if syncs >= callers {
		t.Errorf("%d syncs for %d callers", syncs, callers)
	}
	close(s.syncs)
	if _, recs := openLog(t, s); len(recs) != callers {
		t.Errorf("%d records, want %d", len(recs), callers)
	}
}

func FuzzOpenLog(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("00000000 0 {}\n"))
	d := fsystest.NewDisk()
	l, _, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Append([]byte("{}"), []byte(`{"a":1}`)); err != nil {
		f.Fatal(err)
	}
	if b, err := fsys.ReadFile(d, "/log", 1000); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d := fsystest.NewDisk()
		if err := fsys.WriteFile(d, "/log", content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, recs, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
		if err != nil {
			if !errors.Is(err, fsys.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if err := l.Append([]byte("next")); err != nil {
			t.Fatal(err)
		}
		_, again, err := fsys.OpenLog(d, "/log", 0o600, maxRecord)
		if err != nil || len(again) != len(recs)+1 {
			t.Fatalf("had %d records, then %d, %v", len(recs), len(again), err)
		}
	})
}
