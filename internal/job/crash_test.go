package job

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/wire/doc"
)

// keeps are the ways in which a disk can come back after a crash.
func keeps() map[string]fsystest.Keep {
	return map[string]fsystest.Keep{"nothing unsynced": fsystest.Nothing(), "all": fsystest.All(), "some": fsystest.Some(1), "other": fsystest.Some(2)}
}

// TestSubmittedSurvivesAnyCrash stops the disk at every operation of a Submit
// and checks: what was promised is there after the crash, and what is there is
// whole. Removing a sync from create breaks it.
func TestSubmittedSurvivesAnyCrash(t *testing.T) {
	t.Parallel()
	for name, keep := range keeps() {
		for n := 0; ; n++ {
			disk := fsystest.NewDisk()
			q := New(refusing(disk, newSink(), clock.Real{}))
			if _, err := q.recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			close(q.ready)
			disk.StopAt(disk.Ops() + n)
			err := q.Submit(t.Context(), request("one", "a"))
			disk.StopAt(0)
			disk.Crash(keep)
			again := New(refusing(disk, newSink(), clock.Real{}))
			if _, rerr := again.recover(t.Context()); rerr != nil {
				t.Fatal(rerr)
			}
			found := len(again.pending) == 1
			if err == nil && !found {
				t.Fatalf("%s, stopped at %d: an accepted command is lost\n%v", name, n, disk)
			}
			if !found {
				close(again.ready)
				if err := again.Submit(t.Context(), request("one", "a")); err != nil {
					t.Fatalf("%s, stopped at %d: the redelivery is refused: %v", name, n, err)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

// TestFinishedIsReportedAndNeverRunAgain crashes the machine at every
// operation between a worker's last record and the tombstone.
func TestFinishedIsReportedAndNeverRunAgain(t *testing.T) {
	t.Parallel()
	for name, keep := range keeps() {
		for n, over := 0, false; !over; n++ {
			disk := fsystest.NewDisk()
			finishedJob(t, disk)
			s := newSink()
			disk.StopAt(disk.Ops() + n)
			q := New(refusing(disk, s, clock.Real{}))
			settled := false
			if _, err := q.recover(t.Context()); err == nil {
				q.mu.Lock()
				e := q.live["one"]
				q.mu.Unlock()
				settled = e == nil || settleNow(t, q, e)
			}
			disk.StopAt(0)
			disk.Crash(keep)
			over = settled
			reported := len(s.reports)
			q = New(refusing(disk, s, clock.Real{}))
			if _, err := q.recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, e := range q.live {
				if !settleNow(t, q, e) {
					t.Fatalf("%s, stopped at %d: not settled by the next agent", name, n)
				}
			}
			close(q.ready)
			if err := q.Submit(t.Context(), request("one", "a")); !errors.Is(err, ErrDuplicate) {
				t.Fatalf("%s, stopped at %d: the redelivery would run again: %v", name, n, err)
			}
			check(t, s.reports, name, n)
			if settled && len(s.reports) != reported {
				t.Errorf("%s, stopped at %d: reported again after the tombstone", name, n)
			}
		}
	}
}

// check: all reports of the same number are the same, and the result is told.
func check(t *testing.T, reports []Report, name string, n int) {
	t.Helper()
	seqs := map[int]bool{}
	for _, r := range reports {
		seqs[r.Seq] = r.Final
		if r.Results[0].Status != doc.Success {
			t.Errorf("%s, stopped at %d: %+v", name, n, r)
		}
	}
	if len(seqs) != 2 {
		t.Errorf("%s, stopped at %d: reports %v, want a step's and a final one", name, n, seqs)
	}
}

// settleNow does what attend does, without waiting out a broken disk.
func settleNow(t *testing.T, q *Queue, e *entry) bool {
	t.Helper()
	if e.inherit() != nil || !e.p.Finished {
		return false
	}
	return q.reportNews(t.Context(), e) == nil && e.dir.bury(Summary{}) == nil
}

// finishedJob leaves what a worker leaves that ended without an agent.
func finishedJob(t *testing.T, disk *fsystest.Disk) {
	t.Helper()
	q := New(refusing(disk, newSink(), clock.Real{}))
	if _, err := q.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(q.ready)
	if err := q.Submit(t.Context(), request("one", "a")); err != nil {
		t.Fatal(err)
	}
	l, p, err := q.live["one"].dir.OpenLog(1)
	if err != nil || p.Records != 0 {
		t.Fatal(p, err)
	}
	defer l.Close()
	for _, r := range []Record{{Started: "a"}, {Result: &doc.Result{ID: "a", Status: doc.Success, StandardOutput: "x\n", Start: epoch, End: epoch}}} {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecoverSortsAndDrops(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	c := clock.NewFake(epoch)
	q := New(refusing(disk, newSink(), c))
	if _, err := q.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(q.ready)
	q.bounds.Buffer = 10
	for _, id := range []string{"b-second", "a-third", "lost"} {
		c.Advance(time.Second)
		if err := q.Submit(t.Context(), request(id, "a")); err != nil {
			t.Fatal(err)
		}
	}
	l, _, err := q.live["lost"].dir.OpenLog(1)
	if err != nil || l.Append(Record{Started: "a"}) != nil || l.Close() != nil {
		t.Fatal(err)
	}
	torn := Dir{FS: disk, Path: "/data/jobs/torn"}
	later := Dir{FS: disk, Path: "/data/jobs/later"}
	for _, d := range []Dir{torn, later} {
		if err := disk.Mkdir(d.Path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(torn.write(requestFile, []byte(`{"Version":1,"ID":"to`), true),
		later.write(requestFile, []byte(`{"Version":99,"ID":"later","Dir":"/o","Steps":[{"ID":"a"}]}`), true)); err != nil {
		t.Fatal(err)
	}
	q = New(refusing(disk, newSink(), c))
	if _, err := q.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range q.pending {
		order = append(order, e.req.ID)
	}
	if len(order) != 3 || order[0] != "lost" || order[1] != "b-second" || order[2] != "a-third" {
		t.Errorf("order %v", order)
	}
	if _, err := disk.Lstat(torn.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a request that was never acknowledged stays")
	}
	if _, err := disk.Lstat(later.file(requestFile)); err != nil {
		t.Error("a later version's job was touched")
	}
}

func TestTooOldIsNotRun(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	c := clock.NewFake(epoch)
	q := New(refusing(disk, newSink(), c))
	if _, err := q.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(q.ready)
	if err := q.Submit(t.Context(), request("one", "a")); err != nil {
		t.Fatal(err)
	}
	c.Advance(49 * time.Hour)
	s := newSink()
	o := refusing(disk, s, c)
	o.Log = slog.New(slog.DiscardHandler)
	run(t, o)
	if r := s.finals(t, 1)[0].Result; r.Status != doc.Failed || r.Error == "start the command's worker: fork: no memory" {
		t.Errorf("%+v", r)
	}
}

// FuzzWorker: a record of a worker that cannot be read is none, and so is the
// number of what was reported.
func FuzzWorker(f *testing.F) {
	f.Add([]byte(`{"PID":7,"Start":9,"Attempt":1}`))
	f.Add([]byte(`3`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := Dir{FS: fsystest.NewDisk(), Path: "/j"}
		if err := d.FS.Mkdir(d.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{workerFile, reportedFile} {
			if err := d.write(name, b, false); err != nil {
				t.Fatal(err)
			}
		}
		if w, n := d.loadWorker(), d.loadReported(); n < 0 || (w != (workerRecord{}) || n > 0) && !json.Valid(b) {
			t.Errorf("%q is %+v, %d", b, w, n)
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("{\"started\":\"a\"}\n{\"result\":{\"ID\":\"a\",\"Status\":\"Success\"}}\n{\"fin"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, size := decodeRecords(b)
		if size < 0 || size > int64(len(b)) {
			t.Fatalf("size %d of %d", size, len(b))
		}
		again, same := decodeRecords(b[:size])
		if len(again) != len(records) || same != size {
			t.Fatal("the good part is not good by itself")
		}
		p := NewProgress(2)
		for _, r := range records {
			p.Apply(r)
		}
		p.Results()
		p.Done()
	})
}

// TestSweptTombstoneDoesNotComeBackToLife crashes the machine at every
// operation of the removal of a tombstone.
func TestSweptTombstoneDoesNotComeBackToLife(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		for n, whole := 0, false; !whole; n++ {
			disk := fsystest.NewDisk()
			finishedJob(t, disk)
			d := Dir{FS: disk, Path: "/data/jobs/one"}
			if err := d.bury(Summary{}); err != nil {
				t.Fatal(err)
			}
			before := disk.Ops()
			disk.StopAt(before + n)
			d.remove()
			whole = disk.Ops() < before+n
			disk.StopAt(0)
			disk.Crash(fsystest.Some(seed))
			q := New(refusing(disk, newSink(), clock.Real{}))
			found, err := q.recover(t.Context())
			if err != nil || len(found)+len(q.pending) != 0 {
				t.Fatalf("seed %d, stopped at %d: the command would run again (%v)", seed, n, err)
			}
		}
	}
}

// TestSecondWorkerIsOnRecordAfterACrash: else a command that takes the machine
// down with it would do so for ever.
func TestSecondWorkerIsOnRecordAfterACrash(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	finishedJob(t, disk)
	d := Dir{FS: disk, Path: "/data/jobs/one"}
	for attempt := 1; attempt <= 2; attempt++ {
		if err := d.saveWorker(workerRecord{PID: 7, Start: 8, Attempt: attempt}); err != nil {
			t.Fatal(err)
		}
	}
	disk.Crash(fsystest.Nothing())
	if w := d.loadWorker(); w.Attempt != 2 {
		t.Errorf("%+v", w)
	}
}

// TestJobsOfReleasesStayAdoptable takes up the job directories that releases
// wrote, as testdata keeps them.
func TestJobsOfReleasesStayAdoptable(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/v1/request.json")
	if err != nil {
		t.Fatal(err)
	}
	events, err := os.ReadFile("testdata/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	disk := fsystest.NewDisk()
	d := Dir{FS: disk, Path: "/data/jobs/9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60"}
	for _, dir := range []string{"/data", "/data/jobs", d.Path} {
		if err := disk.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.write(requestFile, raw, true), d.write(eventsFile, events, true), d.saveWorker(workerRecord{PID: 1, Start: 2, Attempt: 1})); err != nil {
		t.Fatal(err)
	}
	q := New(refusing(disk, newSink(), clock.NewFake(epoch)))
	if _, err := q.recover(t.Context()); err != nil || len(q.pending) != 1 {
		t.Fatal(err, len(q.pending))
	}
	e := q.pending[0]
	if e.req.Steps[1].Action != "aws:runShellScript" || e.req.Node.InstanceID != "mi-0a1b2c3d4e5f60718" || e.p.Open != "two" ||
		len(e.p.History) != 1 || e.p.History[0].StandardOutput != "hello\n" || e.attempt != 1 {
		t.Errorf("%+v %+v", e.req, e.p)
	}
}
