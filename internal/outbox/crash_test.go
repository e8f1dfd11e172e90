package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

// model is what an outbox promised.
type model struct{ sure, maybe, done map[string]bool }

func newModel() *model {
	return &model{map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// run does a history on the disk until it stops; it says whether it came
// through to the end. Compaction is made frequent.
func (m *model) run(disk *fsystest.Disk) bool {
	o, err := Open(disk, dir, clock.Real{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return false
	}
	o.store.small = 300
	for i := range 8 {
		a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
		m.maybe[a], m.maybe[b] = true, true
		if o.Put(entry(a, "job"), entry(b, "job")) != nil {
			return false
		}
		m.sure[a], m.sure[b] = true, true
		delete(m.sure, a)
		m.done[a] = true
		if i > 3 {
			m.done[fmt.Sprintf("b%d", i-2)] = true
			delete(m.sure, fmt.Sprintf("b%d", i-2))
			if o.Done(fmt.Sprintf("b%d", i-2)) != nil {
				return false
			}
		}
		if o.Done(a) != nil {
			return false
		}
	}
	return o.Close() == nil
}

func (m *model) check(t *testing.T, disk *fsystest.Disk, where string) {
	t.Helper()
	o, err := Open(disk, dir, clock.Real{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	var order []string
	for _, e := range o.live() {
		order = append(order, e.ID)
		if !m.maybe[e.ID] {
			t.Errorf("%s: %s was never put", where, e.ID)
		}
		if e.Content != "content of "+e.ID {
			t.Errorf("%s: %s has content %q", where, e.ID, e.Content)
		}
		delete(m.sure, e.ID)
	}
	if len(m.sure) > 0 {
		t.Errorf("%s: lost %v", where, m.sure)
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return strings.Compare(a[1:], b[1:]) }) {
		t.Errorf("%s: order %v", where, order)
	}
	if err := o.Put(entry("after", "x")); err != nil {
		t.Errorf("%s: put after the crash: %v", where, err)
	}
}

func TestCrash(t *testing.T) {
	t.Parallel()
	for stop, ended := 1, false; !ended; stop++ {
		for name, keep := range map[string]fsystest.Keep{
			"nothing": fsystest.Nothing(), "all": fsystest.All(), "some": fsystest.Some(uint64(stop)),
		} {
			disk := fsystest.NewDisk()
			disk.StopAt(stop)
			m := newModel()
			ended = m.run(disk)
			disk.Crash(keep)
			m.check(t, disk, fmt.Sprintf("stopped at %d, kept %s", stop, name))
		}
	}
}

// TestDoneDurableWithNextPut holds the other half of the promise: what was
// done does not come back once a later put was durable.
func TestDoneDurableWithNextPut(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"put", "close"} {
		disk := fsystest.NewDisk()
		o := open(t, disk)
		mustPut(t, o, entry("a", "1"))
		if err := o.Done("a"); err != nil {
			t.Fatal(err)
		}
		if end == "put" {
			mustPut(t, o, entry("b", "1"))
		} else if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		disk.Crash(fsystest.Nothing())
		for _, e := range open(t, disk).live() {
			if e.ID == "a" {
				t.Errorf("%s: a came back", end)
			}
		}
	}
}

func TestFailingSync(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	o := open(t, disk)
	mustPut(t, o, entry("a", "1"))
	failed := false
	disk.Fail(func(op fsystest.Op) error {
		if op.Kind == "sync" && !failed {
			failed = true
			return errors.New("input/output error")
		}
		return nil
	})
	mustPut(t, o, entry("b", "1")) // on a file written anew
	mustPut(t, o, entry("c", "1"))
	disk.Crash(fsystest.Nothing())
	if got := open(t, disk).Len(); !failed || got != 3 {
		t.Errorf("%d entries after the crash, want 3", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	o := open(t, disk)
	mustPut(t, o, entry("a", "1"))
	disk.SetSpace(20)
	if err := o.Put(entry("b", "1")); !errors.Is(err, fsys.ErrNoSpace) || o.Len() != 1 {
		t.Errorf("full disk: %v, %d entries", err, o.Len())
	}
	disk.SetSpace(-1)
	mustPut(t, o, entry("c", "1"))
	disk.Crash(fsystest.Nothing())
	var ids []string
	for _, e := range open(t, disk).live() {
		ids = append(ids, e.ID)
	}
	if got := strings.Join(ids, " "); got != "a c" {
		t.Errorf("after the crash: %s", got)
	}
}

// damaged is a disk whose log has a flipped byte in what had been synced.
func damaged(t *testing.T) *fsystest.Disk {
	t.Helper()
	disk := fsystest.NewDisk()
	o := open(t, disk)
	for _, id := range []string{"a", "b", "c"} {
		mustPut(t, o, entry(id, "1"))
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := fsys.ReadFile(disk, dir+"/"+logName, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	raw[20] ^= 1
	if err := fsys.WriteFile(disk, dir+"/"+logName, raw, filePerm); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestDamagedLog(t *testing.T) {
	t.Parallel()
	disk := damaged(t)
	if got := open(t, disk).Len(); got != 2 {
		t.Errorf("%d entries are left, want 2", got)
	}
	if _, err := disk.Lstat(dir + "/" + logName + ".damaged"); err != nil {
		t.Errorf("no copy: %v", err)
	}
	for stop, ended := 1, false; !ended; stop++ {
		disk := damaged(t)
		disk.StopAt(disk.Ops() + stop)
		_, err := Open(disk, dir, clock.Real{}, slog.New(slog.DiscardHandler))
		ended = err == nil
		disk.Crash(fsystest.Nothing())
		o := open(t, disk)
		if got := o.Len(); got != 2 {
			t.Errorf("stopped at %d: %d entries are left, want 2", stop, got)
		}
		if _, err := disk.Lstat(dir + "/" + logName + ".damaged"); err != nil {
			t.Errorf("stopped at %d: no copy: %v", stop, err)
		}
	}
}

// TestSalvageIsDurable: once Open has returned, no crash brings the damage back.
func TestSalvageIsDurable(t *testing.T) {
	t.Parallel()
	disk := damaged(t)
	open(t, disk)
	disk.Crash(fsystest.Nothing())
	if _, _, err := fsys.OpenLog(disk, dir+"/"+logName, filePerm, maxRecord); err != nil {
		t.Errorf("after the crash: %v", err)
	}
}

func TestLeftoversSwept(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	open(t, disk)
	f, err := disk.OpenFile(dir+"/.outbox.log.abc.tmp", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, disk)
	entries, err := disk.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"put":{"ID":"a","JobID":"j","Topic":"t","Content":"c","Channel":"ssmmessages","Created":"2025-03-14T09:26:53Z"}}` + "\n" + `{"done":"a"}`))
	f.Add([]byte("{}\n{\"put\":null,\"done\":\"\"}\n[]\n{\"put\":{}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := [][]byte{}
		for line := range strings.SplitSeq(string(b), "\n") {
			raw = append(raw, []byte(line))
		}
		entries, _ := replay(raw)
		seen := map[string]bool{}
		for _, e := range entries {
			if e.check() != nil || seen[e.ID] {
				t.Fatalf("came through: %+v", e)
			}
			seen[e.ID] = true
		}
		lines, err := encode(entries)
		if err != nil {
			// A year beyond 9999 is the one thing that cannot be written back.
			if _, ok := errors.AsType[*json.MarshalerError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		again, bad := replay(lines)
		if bad != 0 || len(again) != len(entries) {
			t.Fatalf("%d entries became %d, %d unreadable", len(entries), len(again), bad)
		}
	})
}
