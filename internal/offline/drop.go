package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
)

// Drop is the other end of a Folder: it puts documents there. All but Watch is
// needed.
type Drop struct {
	Dir    string
	FS     fsys.FS
	Clock  clock.Clock
	Watch  func(ctx context.Context, dir string) (<-chan struct{}, error)
	Within time.Duration // a document that nobody takes by then is withdrawn
	Every  time.Duration // how often to look where nothing tells of news
}

// The errors of Send, in the stock program's words.
var (
	ErrInvalid  = errors.New("failed to submit document: document was invalid")
	ErrTimedOut = errors.New("failed to submit document: timed out")
)

// Send puts a document into the folder and returns the command's id once an
// agent has taken it. name is one that was never used.
func (d Drop) Send(ctx context.Context, name string, content []byte) (id string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, dir := range []string{d.path(submitted), d.path(invalid)} {
		if err := fsys.MkdirAll(d.FS, dir, 0o700); err != nil {
			return "", fmt.Errorf("submit the document: %w", err)
		}
	}
	took, refused := d.watch(ctx, submitted), d.watch(ctx, invalid)
	late := d.Clock.NewTimer(d.Within)
	defer late.Stop()
	if err := fsys.WriteFile(d.FS, d.path(name), content, 0o600); err != nil {
		return "", fmt.Errorf("submit the document: %w", err)
	}
	for {
		if id, err := d.taken(name); id != "" || err != nil {
			return id, err
		}
		t := d.Clock.NewTimer(d.Every)
		select {
		case _, ok := <-took:
			if !ok {
				took = nil
			}
		case _, ok := <-refused:
			if !ok {
				refused = nil
			}
		case <-t.C():
		case <-late.C():
			t.Stop()
			return d.withdraw(name)
		case <-ctx.Done():
			t.Stop()
			return d.withdraw(name)
		}
		t.Stop()
	}
}

func (d Drop) path(elem ...string) string { return filepath.Join(append([]string{d.Dir}, elem...)...) }

// watch is news of a folder, or nil: then it is looked at now and then.
func (d Drop) watch(ctx context.Context, sub string) <-chan struct{} {
	if d.Watch == nil {
		return nil
	}
	news, err := d.Watch(ctx, d.path(sub))
	if err != nil {
		return nil
	}
	return news
}

// taken looks for what became of a document: its id, ErrInvalid, or nothing yet.
func (d Drop) taken(name string) (id string, err error) {
	for _, sub := range []string{submitted, invalid} {
		entries, err := d.FS.ReadDir(d.path(sub))
		if err != nil {
			return "", fmt.Errorf("look for the document: %w", err)
		}
		for _, e := range entries {
			if id, ok := strings.CutPrefix(e.Name(), name+"."); ok && sub == invalid {
				return "", ErrInvalid
			} else if ok {
				return id, nil
			}
		}
	}
	return "", nil
}

// withdraw takes back what nobody took.
func (d Drop) withdraw(name string) (id string, err error) {
	err = d.FS.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) { // at the last moment
		if id, err := d.taken(name); id != "" || err != nil {
			return id, err
		}
		return "", ErrTimedOut
	}
	return "", errors.Join(ErrTimedOut, err)
}
