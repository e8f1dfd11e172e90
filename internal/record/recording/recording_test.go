package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/record/asciicast"
)

const dir = "/data/recordings"

func options() Options {
	return Options{Clock: clock.Real{}, Header: asciicast.Header{Width: 80, Height: 24}}
}

func events(t *testing.T, s Store, id string) (all []asciicast.Event, err error) {
	t.Helper()
	f, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := asciicast.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := fsystest.NewDisk()
		s := Store{FS: disk, Dir: dir}
		r, err := s.Create("ada-1", options())
		if err != nil {
			t.Fatal(err)
		}
		r.Output([]byte("$ \xe6\xbc"))
		<-time.After(time.Second)
		r.Output([]byte("\xa2 caf\xc3"))
		r.Resize(100, 30)
		r.Input([]byte("ls\r"))
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil { // twice is no harm
			t.Fatal(err)
		}
		r.Output([]byte("late"))
		all, err := events(t, s, "ada-1")
		want := "[{0s o $ } {1s o 漢 caf} {1s r 100x30} {1s i ls\r} {1s o \ufffd}]"
		if fmt.Sprint(all) != want || err != nil {
			t.Errorf("%v %v", all, err)
		}
		fi, err := disk.Lstat(dir + "/ada-1.cast")
		if err != nil || fi.Mode() != 0o600 || fi.Size() != r.Size() {
			t.Errorf("%v %d, recorder says %d; %v", fi.Mode(), fi.Size(), r.Size(), err)
		}
		if fi, err := disk.Lstat(dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("directory: %v", fi.Mode())
		}
		if d, err := s.Length("ada-1"); err != nil || d != time.Second {
			t.Errorf("length %v %v", d, err)
		}
		if _, err := s.Create("ada-1", options()); err == nil || !strings.Contains(err.Error(), "there already") {
			t.Errorf("evidence was overwritten: %v", err)
		}
		if _, err := s.Create("../x", options()); err == nil {
			t.Error("a path was taken for an id")
		}
	})
}

// Whoever loses the machine loses what happened in the last seconds, and
// nothing else; without news nothing is written.
func TestSyncedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := fsystest.NewDisk()
		s := Store{FS: disk, Dir: dir}
		r, err := s.Create("ada-1", options())
		if err != nil {
			t.Fatal(err)
		}
		r.Output([]byte("kept"))
		<-time.After(syncWithin + time.Millisecond)
		synctest.Wait()
		ops := disk.Ops()
		<-time.After(time.Hour) // an idle shell costs nothing
		if n := disk.Ops() - ops; n > 0 {
			t.Errorf("%d operations without news", n)
		}
		r.Output([]byte("lost"))
		synctest.Wait()
		disk.Crash(fsystest.Nothing())
		if all, err := events(t, s, "ada-1"); err != nil || fmt.Sprint(all) != "[{0s o kept}]" {
			t.Errorf("%v %v", all, err)
		}
		_ = r.Close()
	})
}

// Whatever instant the machine stops at: what can be read is a beginning of
// what was recorded, and after Close all of it.
func TestCrashes(t *testing.T) {
	t.Parallel()
	record := func(disk *fsystest.Disk) (created, closed bool) {
		r, err := Store{FS: disk, Dir: dir}.Create("ada-1", options())
		if err != nil {
			return false, false
		}
		for i := range 5 {
			r.Output([]byte(fmt.Sprint(i, strings.Repeat(".", 70))))
			<-time.After(3 * time.Second)
		}
		return true, r.Close() == nil
	}
	total := 0
	synctest.Test(t, func(*testing.T) {
		d := fsystest.NewDisk()
		record(d)
		total = d.Ops()
	})
	for stop := 1; stop <= total+1; stop++ {
		for _, keep := range []fsystest.Keep{fsystest.Nothing(), fsystest.All(), fsystest.Some(uint64(stop))} {
			synctest.Test(t, func(t *testing.T) {
				disk := fsystest.NewDisk()
				disk.StopAt(stop)
				created, closed := record(disk)
				disk.Crash(keep)
				s := Store{FS: disk, Dir: dir}
				if _, err := s.Header("ada-1"); err != nil {
					if created {
						t.Fatalf("stop %d: the beginning is lost: %v", stop, err)
					}
					return
				}
				all, err := events(t, s, "ada-1")
				for i, e := range all {
					if !strings.HasPrefix(e.Data, fmt.Sprint(i, ".")) {
						t.Fatalf("stop %d: event %d is %q", stop, i, e.Data)
					}
				}
				if closed && (err != nil || len(all) != 5) {
					t.Fatalf("stop %d: closed, but %d events, %v", stop, len(all), err)
				}
			})
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fail func(*fsystest.Disk, *Options)
		want error
	}{
		"full disk":      {func(d *fsystest.Disk, _ *Options) { d.SetSpace(300) }, fsys.ErrNoSpace},
		"large enough":   {func(_ *fsystest.Disk, o *Options) { o.Limit = 400 }, ErrLimit},
		"read-only disk": {func(d *fsystest.Disk, _ *Options) { d.SetReadOnly(true) }, fsys.ErrReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := fsystest.NewDisk()
				s, o := Store{FS: disk, Dir: dir}, options()
				var failed []error
				o.Failed = func(err error) { failed = append(failed, err) }
				if tc.want == ErrLimit { //nolint:errorlint // a table's value
					tc.fail(disk, &o)
				}
				r, err := s.Create("ada-1", o)
				if err != nil {
					t.Fatal(err)
				}
				r.Output([]byte("first"))
				synctest.Wait()
				tc.fail(disk, &o)
				for i := range 100_000 { // the terminal is not held up
					r.Output([]byte(fmt.Sprint("line ", i, "\r\n")))
					if i%10 == 0 {
						synctest.Wait()
					}
				}
				if len(failed) != 1 || !errors.Is(failed[0], tc.want) {
					t.Fatalf("told %v", failed)
				}
				if err := r.Close(); !errors.Is(err, tc.want) {
					t.Errorf("closed: %v", err)
				}
				disk.SetReadOnly(false)
				all, err := events(t, s, "ada-1")
				if err != nil || len(all) == 0 || all[0].Data != "first" {
					t.Errorf("what there was cannot be played: %v %v", all, err)
				}
			})
		})
	}
}

// A disk that hangs holds the terminal up, with a bounded amount in memory.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := fsystest.NewDisk()
		s := Store{FS: disk, Dir: dir}
		r, err := s.Create("ada-1", options())
		if err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		hang := make(chan struct{})
		disk.Fail(func(fsystest.Op) error { once.Do(func() { <-hang }); return nil })
		line := bytes.Repeat([]byte("x"), 32<<10)
		var wg sync.WaitGroup
		sent := 0
		wg.Go(func() {
			for range 40 {
				r.Output(line)
				sent++
			}
		})
		synctest.Wait()
		if n := sent * len(line); n > 3*buffered {
			t.Errorf("%d bytes wait for the disk", n)
		}
		close(hang)
		wg.Wait()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		n := 0
		all, _ := events(t, s, "ada-1")
		for _, e := range all {
			n += len(e.Data)
		}
		if n != 40*len(line) {
			t.Errorf("%d bytes were recorded", n)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		r    Retention
		want string // what stays, of s0 (oldest) to s9, each an hour apart
	}{
		"no end":     {Retention{}, "s0 s1 s2 s3 s4 s5 s6 s7 s8 s9"},
		"age":        {Retention{Age: 3*time.Hour + time.Minute}, "s2 s7 s8 s9"},
		"count":      {Retention{Count: 4}, "s2 s7 s8 s9"},
		"bytes":      {Retention{Bytes: 3 * 1000}, "s2 s8 s9"},
		"none":       {Retention{Age: time.Nanosecond}, "s2"},
		"everything": {Retention{Age: 24 * time.Hour, Bytes: 1 << 20, Count: 10}, "s0 s1 s2 s3 s4 s5 s6 s7 s8 s9"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := fsystest.NewDisk()
				s := Store{FS: disk, Dir: dir}
				if err := fsys.MkdirAll(disk, dir, 0o700); err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					if err := fsys.WriteFile(disk, dir+fmt.Sprintf("/s%d.cast", i), make([]byte, 1000), 0o600); err != nil {
						t.Fatal(err)
					}
					<-time.After(time.Hour)
				}
				for _, other := range []string{"notes.txt", ".hidden.cast", "x.cast.tmp"} {
					if err := fsys.WriteFile(disk, dir+"/"+other, make([]byte, 5000), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				live := func(id string) bool { return id == "s2" }
				if _, more, err := s.Sweep(tc.r, live, time.Now()); err != nil || more {
					t.Fatal(more, err)
				}
				all, err := s.List()
				var got []string
				for _, e := range all {
					got = append(got, e.ID)
				}
				if strings.Join(got, " ") != tc.want || err != nil {
					t.Errorf("%v stay, want %s; %v", got, tc.want, err)
				}
				if _, err := disk.Lstat(dir + "/notes.txt"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSweepInBatches(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	s := Store{FS: disk, Dir: dir}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Fatalf("no directory: %v %v", all, err)
	}
	if err := fsys.MkdirAll(disk, dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 250 {
		if err := fsys.WriteFile(disk, dir+fmt.Sprintf("/s%03d.cast", i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var batches []int
	for more := true; more; {
		var n int
		var err error
		if n, more, err = s.Sweep(Retention{Count: 10}, func(string) bool { return false }, time.Now()); err != nil {
			t.Fatal(err)
		}
		batches = append(batches, n)
	}
	if fmt.Sprint(batches) != "[100 100 40]" {
		t.Error(batches)
	}
	if _, err := s.Open("s000"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
