package logbook

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// File is a log file that several processes append to, one of which rolls it
// over by size: NAME becomes NAME.n, the highest n being the newest. Writing
// never fails the program: what the disk refuses is lost. Safe for concurrent
// use.
type File struct {
	mu    sync.Mutex
	path  string
	f     *os.File
	max   int64
	rolls int
}

// Open opens or makes a log of at most size bytes, which this process rolls
// over, keeping rolls older files. Its folder is made for its owner only.
func Open(path string, size int64, rolls int) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &File{path: path, max: size, rolls: rolls}
	return l, l.open()
}

// Follow is a log that another process rolls over. Its file is opened when
// there is something to write.
func Follow(path string) *File { return &File{path: path} }

func (l *File) open() (err error) {
	// Log shippers that are not root read stock agents' logs where the folder
	// lets them.
	l.f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	return err
}

// Write implements io.Writer.
func (l *File) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow(int64(len(b)))
	if l.f != nil {
		_, _ = l.f.Write(b)
	}
	return len(b), nil
}

// follow opens the file anew when somebody rolled it over or removed it, and
// rolls it over when that is ours and n more bytes are too much.
func (l *File) follow(n int64) {
	named, err := os.Stat(l.path)
	if l.f == nil || err != nil {
		l.reopen()
		return
	}
	ours, err := l.f.Stat()
	if err != nil || !os.SameFile(named, ours) {
		l.reopen()
		return
	}
	if l.rolls > 0 && ours.Size() > 0 && ours.Size()+n > l.max {
		l.roll()
	}
}

func (l *File) reopen() {
	if l.f != nil {
		_ = l.f.Close() // nothing was buffered
	}
	if l.open() != nil {
		l.f = nil
	}
}

// roll moves the file away and removes what is too old; what cannot be moved
// stays, and grows.
func (l *File) roll() {
	old := l.rolled()
	next := 1
	if len(old) > 0 {
		next = old[len(old)-1] + 1
	}
	_ = l.f.Close() // or it cannot be moved on every system
	l.f = nil
	if os.Rename(l.path, l.name(next)) == nil {
		old = append(old, next)
	}
	for _, n := range old[:max(0, len(old)-l.rolls)] {
		_ = os.Remove(l.name(n)) // the next roll tries again
	}
	l.reopen()
}

func (l *File) name(n int) string { return l.path + "." + strconv.Itoa(n) }

// rolled are the numbers of the older files, in order.
func (l *File) rolled() []int {
	entries, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return nil
	}
	return numbers(entries, filepath.Base(l.path))
}

func numbers(entries []os.DirEntry, base string) (all []int) {
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), base+".")
		n, err := strconv.Atoi(text)
		if ok && err == nil && n > 0 && strconv.Itoa(n) == text {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// Close implements io.Closer.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

// Rolled are the files of the log at path that exist, the oldest first.
func Rolled(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("look for logs: %w", err)
	}
	var files []string
	for _, n := range numbers(entries, filepath.Base(path)) {
		files = append(files, path+"."+strconv.Itoa(n))
	}
	if _, err := os.Stat(path); err == nil {
		files = append(files, path)
	}
	return files, nil
}

var _ io.WriteCloser = (*File)(nil)
