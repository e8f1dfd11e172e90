package program

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Sizes and number of the stock agent's log files.
const (
	logSize  = 30_000_000
	logRolls = 5
)

// logFile is a log that rolls over by size: NAME, NAME.1 … NAME.5. Writing
// never fails the program: what the disk refuses is lost, standard error has
// it still. Safe for concurrent use.
type logFile struct {
	mu   sync.Mutex
	path string
	f    *os.File
	size int64
	max  int64
}

// openLog opens or makes the log; its folder is made too.
func openLog(path string, size int64) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &logFile{path: path, max: size}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, fi.Size()
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(b)) > l.max && l.size > 0 {
		l.roll()
	}
	if l.f != nil {
		n, _ := l.f.Write(b)
		l.size += int64(n)
	}
	return len(b), nil
}

// roll moves the files on by one; what cannot be moved stays.
func (l *logFile) roll() {
	l.f.Close()
	l.f = nil
	for i := logRolls; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		_ = os.Rename(from, fmt.Sprintf("%s.%d", l.path, i))
	}
	_ = l.open()
}

// Close implements io.Closer.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

var _ io.WriteCloser = (*logFile)(nil)
