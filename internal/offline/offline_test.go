package offline

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
)

const (
	dir  = "/local"
	good = `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["true"]}}]}`
)

// bench is a folder on a disk, and the queue that it submits to.
type bench struct {
	t    *testing.T
	disk *fsystest.Disk
	c    *clock.Fake
	got  []job.Request
	err  error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{t: t, disk: fsystest.NewDisk(), c: clock.NewFake(time.Now().Add(time.Hour))}
}

func (b *bench) folder() *Folder {
	return New(Options{Dir: dir, FS: b.disk, Clock: b.c, Log: slog.New(slog.DiscardHandler), Orchestration: "/orchestration",
		Submit: func(_ context.Context, r job.Request) error {
			if b.err == nil {
				b.got = append(b.got, r)
			}
			return b.err
		}})
}

// settle makes the folders, as Run does.
func (b *bench) settle(f *Folder) *Folder {
	b.t.Helper()
	for _, d := range []string{dir, f.path(submitted), f.path(completed), f.path(invalid)} {
		if err := fsys.SettleDir(b.disk, d, 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
	return f
}

func (b *bench) drop(name, text string) {
	b.t.Helper()
	if err := fsys.WriteFile(b.disk, path.Join(dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) names(of string) (names []string) {
	b.t.Helper()
	entries, err := b.disk.ReadDir(path.Join(dir, of))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func report(r job.Request, s doc.Status) job.Report {
	return job.Report{Request: r, Final: true, Results: []doc.Result{{ID: "one", Action: "aws:runShellScript", Status: s}}}
}

func TestDocumentIsRunAndAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.settle(b.folder())
	b.drop("patch night.json", good)
	f.look(t.Context())
	f.look(t.Context()) // finds nothing more
	if len(b.got) != 1 || b.got[0].Channel != Channel || b.got[0].DocumentName != "patch night.json" || len(b.got[0].Steps) != 1 {
		t.Fatalf("%+v", b.got)
	}
	r := b.got[0]
	if s := b.names(submitted); len(s) != 1 || s[0] != "patch night.json."+r.ID || len(b.names("")) != 0 {
		t.Errorf("submitted: %v, left: %v", s, b.names(""))
	}
	if err := f.Report(t.Context(), job.Report{Request: r, Result: &doc.Result{}}, report(r, doc.Failed)); err != nil {
		t.Fatal(err)
	}
	text, err := fsys.ReadFile(b.disk, path.Join(dir, completed, r.ID), 1<<20)
	if err != nil || !strings.Contains(string(text), `"documentStatus":"Failed"`) {
		t.Errorf("%s %v", text, err)
	}
	// Who dropped it finds its id for a while.
	info, err := b.disk.Lstat(path.Join(dir, completed, r.ID))
	if err != nil {
		t.Fatal(err)
	}
	f.opt.Clock = clock.NewFake(info.ModTime().Add(linger - time.Second))
	if next := f.look(t.Context()); next != time.Second || len(b.names(submitted)) != 1 {
		t.Errorf("submitted soon after: %v, next look in %v", b.names(submitted), next)
	}
	f.opt.Clock = clock.NewFake(info.ModTime().Add(linger))
	if next := f.look(t.Context()); next != every || len(b.names(submitted)) != 0 || len(f.accepted) != 0 {
		t.Errorf("submitted later: %v, next look in %v, %v", b.names(submitted), next, f.accepted)
	}
}

// TestDrop is the other end: documents that are taken, refused, and not seen.
func TestDrop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	news := make(chan struct{}, 1)
	f := b.settle(b.folder())
	d := Drop{Dir: dir, FS: b.disk, Clock: b.c, Within: 5 * time.Second, Every: 500 * time.Millisecond,
		Watch: func(_ context.Context, dir string) (<-chan struct{}, error) {
			if path.Base(dir) == submitted {
				return news, nil
			}
			return nil, errors.ErrUnsupported
		}}
	for _, tc := range []struct {
		name, text string
		act        func()
		want       error
	}{
		{"taken", good, func() { f.look(t.Context()); news <- struct{}{} }, nil},
		{"refused", "{}", func() { f.look(t.Context()); b.c.Advance(d.Every) }, ErrInvalid},
		{"unseen", good, func() { b.c.Advance(d.Within) }, ErrTimedOut},
	} {
		var id string
		done := make(chan error, 1)
		go func() {
			var err error
			id, err = d.Send(t.Context(), tc.name, []byte(tc.text))
			done <- err
		}()
		if err := b.c.Await(t.Context(), 2); err != nil { // it waits
			t.Fatal(err)
		}
		tc.act()
		if err := <-done; !errors.Is(err, tc.want) || len(b.names("")) != 0 {
			t.Errorf("%s: %v, left: %v", tc.name, err, b.names(""))
		}
		if tc.want == nil && (len(b.got) != 1 || b.got[0].ID != id) {
			t.Errorf("the id is said to be %s: %+v", id, b.got)
		}
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "binary\x01name": "\x00\xff", "version": `{"schemaVersion":"9.9","mainSteps":[]}`,
		strings.Repeat("é", 125): "no", "huge": strings.Repeat(" ", maxDocument+1), "deep": strings.Repeat("[", 100_000),
		"steps": `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"../../x","inputs":{}}]}`,
	} {
		b := newBench(t)
		f := b.settle(b.folder())
		b.drop(name, text)
		f.look(t.Context())
		gone := b.names(invalid)
		if len(b.got) != 0 || len(gone) != 1 || len(b.names("")) != 0 || len(gone[0]) > 255 {
			t.Errorf("%.20q: submitted %d, invalid %q, left %q", name, len(b.got), gone, b.names(""))
		}
	}
}

func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.settle(b.folder())
	if err := b.disk.Symlink("/etc/shadow", path.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	b.drop(".half.swp", good)
	if err := b.disk.Mkdir(path.Join(dir, "a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.look(t.Context())
	if len(b.got) != 0 || len(b.names(invalid)) != 1 || len(b.names("")) != 1 {
		t.Errorf("submitted %v, invalid %v, left %v", b.got, b.names(invalid), b.names(""))
	}
}

// TestHalfWritten: a file that is no document yet is given a moment.
func TestHalfWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.c = clock.NewFake(time.Now())
	f := b.settle(b.folder())
	b.drop("doc", good[:20])
	if info, err := b.disk.Lstat(path.Join(dir, "doc")); err != nil {
		t.Fatal(err)
	} else {
		b.c.Advance(info.ModTime().Sub(b.c.Now()))
	}
	if wait := f.look(t.Context()); wait != young || len(b.names("")) != 1 {
		t.Errorf("looks again after %v, left %v", wait, b.names(""))
	}
	b.drop("doc", good)
	f.look(t.Context())
	if len(b.got) != 1 {
		t.Error("not run once it was whole")
	}
}

func TestFullQueueIsAskedAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.settle(b.folder())
	b.drop("doc", good)
	b.err = job.ErrFull
	if wait := f.look(t.Context()); wait != again {
		t.Errorf("looks again after %v", wait)
	}
	waiting := b.names(submitted)
	b.err = nil
	b.settle(b.folder()).look(t.Context()) // a later agent
	if len(b.got) != 1 || len(waiting) != 1 || !strings.HasSuffix(waiting[0], b.got[0].ID) {
		t.Errorf("%+v, %v", b.got, waiting)
	}
}

// TestCrash stops the disk at every operation of a document's way: it is
// submitted under one id, or again under the same, and answered.
func TestCrash(t *testing.T) {
	t.Parallel()
	for n, over := 1, false; !over; n++ {
		for seed := range uint64(4) {
			b := newBench(t)
			b.settle(b.folder())
			b.drop("doc", good)
			known := map[string]bool{} // what the queue has for good
			life := func() error {
				f := b.folder()
				f.opt.Submit = func(_ context.Context, r job.Request) error {
					if known[r.ID] {
						return job.ErrDuplicate
					}
					known[r.ID] = true
					b.got = append(b.got, r)
					return nil
				}
				f.look(t.Context())
				for _, r := range b.got {
					if err := f.Report(t.Context(), report(r, doc.Success)); err != nil {
						return err
					}
				}
				return nil
			}
			b.disk.StopAt(b.disk.Ops() + n)
			before := b.disk.Ops()
			err := life()
			over = b.disk.Ops() < before+n && err == nil
			b.disk.Crash(fsystest.Some(seed))
			if err := life(); err != nil {
				t.Fatal(err)
			}
			if len(known) != 1 || len(b.names(completed)) != 1 || len(b.names("")) != 0 {
				t.Errorf("stopped at %d: ids %v, completed %v, left %v", n, known, b.names(completed), b.names(""))
			}
		}
	}
}

func TestRunWaitsForNews(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.folder()
	news := make(chan struct{}, 1)
	got := make(chan job.Request, 1)
	f.opt.Watch = func(context.Context, string) (<-chan struct{}, error) { return news, nil }
	f.opt.Submit = func(_ context.Context, r job.Request) error { got <- r; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	b.settle(b.folder())
	b.drop("doc", good)
	news <- struct{}{}
	if r := <-got; r.DocumentName != "doc" {
		t.Errorf("%+v", r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.disk.SetReadOnly(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.folder().Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := b.disk.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzName: whatever a file is called, it is moved once and stays in its folder.
func FuzzName(f *testing.F) {
	f.Add("doc", good)
	f.Add("a.b", "{}")
	f.Add(strings.Repeat("\xff", 255), good)
	f.Fuzz(func(t *testing.T, name, text string) {
		if name == "" || len(name) > 255 || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") || path.Base(name) != name ||
			name == submitted || name == completed || name == invalid {
			t.Skip()
		}
		b := newBench(t)
		fo := b.settle(b.folder())
		b.drop(name, text)
		fo.look(t.Context())
		moved := append(b.names(submitted), b.names(invalid)...)
		if len(moved) != 1 || len(b.names("")) != 0 || len(moved[0]) > 255 {
			t.Errorf("%q: moved %q, left %q", name, moved, b.names(""))
		}
	})
}

// away is a Parameter Store that cannot be reached until it is back.
type away struct{ back bool }

func (a *away) GetParameters(_ context.Context, names []string) ([]doc.StoreParameter, error) {
	if !a.back {
		return nil, errors.New("no route to host")
	}
	return []doc.StoreParameter{{Name: names[0], Type: "String", Value: "found"}}, nil
}

// TestStoreIsAway: a document that needs Parameter Store waits for it, and goes
// nowhere meanwhile.
func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	b, store := newBench(t), &away{}
	f := b.folder()
	f.opt.Store = store
	b.settle(f)
	b.drop("refers", strings.Replace(good, "true", "{{ssm:motd}}", 1))
	b.c.Advance(time.Hour) // it is whole
	if wait := f.look(t.Context()); wait != again || len(b.got) > 0 || len(b.names(".")) != 1 || len(b.names(invalid)) > 0 {
		t.Errorf("looked again after %v, submitted %v, left %q, invalid %q", wait, b.got, b.names("."), b.names(invalid))
	}
	store.back = true
	f.look(t.Context())
	if len(b.got) != 1 || len(b.names(".")) != 0 {
		t.Errorf("%+v, left %q", b.got, b.names("."))
	}
}
