package audit

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/fsys"
)

// anchor is the last line that is known to be on disk. It lies in two slots
// which are written in turn, each with a checksum and so small that a disk
// writes it whole or not at all: whatever a crash does to the one, the other
// is there.
type anchor struct {
	seq  int64  // 0 before the first line
	hash string // its first half; "" when there is no anchor
}

const (
	slotSize  = 64
	slots     = 2
	anchorHex = 32
)

func newAnchor(seq int64, hash string) anchor { return anchor{seq, hash[:anchorHex]} }

// is says whether hash is that of the line.
func (a anchor) is(hash string) bool { return strings.HasPrefix(hash, a.hash) }

func (a anchor) slot() []byte {
	text := fmt.Sprintf("%015d %s", a.seq, a.hash)
	return []byte(fmt.Sprintf("%-*s\n", slotSize-1, fmt.Sprintf("%08x %s", crc32.ChecksumIEEE([]byte(text)), text)))
}

func parseSlot(b []byte) (a anchor, ok bool) {
	sum, text, _ := strings.Cut(strings.TrimRight(string(b), " \n"), " ")
	if fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) != sum {
		return anchor{}, false
	}
	_, err := fmt.Sscanf(text, "%d %s", &a.seq, &a.hash)
	return a, err == nil && a.seq >= 0 && len(a.hash) == anchorHex
}

var errAnchor = errors.New("the anchor of the audit log is not as it was written")

// readAnchor returns the later slot, and where the other one lies. The error
// wraps errAnchor when there is no whole one, and fs.ErrNotExist when the file
// is missing.
func (l *Log) readAnchor() (a anchor, other int64, err error) {
	b, err := fsys.ReadFile(l.opt.FS, filepath.Join(l.opt.Dir, anchorFile), slots*slotSize)
	if err != nil {
		return anchor{}, 0, fmt.Errorf("%w: %w", errAnchor, err)
	}
	for at := 0; at < len(b); at += slotSize {
		s, ok := parseSlot(b[at:min(at+slotSize, len(b))])
		if ok && (a.hash == "" || s.seq > a.seq) {
			a, other = s, int64(slotSize-at)
		}
	}
	if a.hash == "" {
		return anchor{}, 0, fmt.Errorf("%w: it is damaged", errAnchor)
	}
	return a, other, nil
}

// makeAnchor makes the anchor before there is a line.
func (l *Log) makeAnchor() error {
	if err := fsys.WriteFile(l.opt.FS, filepath.Join(l.opt.Dir, anchorFile), newAnchor(0, first()).slot(), 0o600); err != nil {
		return fmt.Errorf("make the anchor of the audit log: %w", err)
	}
	return nil
}

// moveAnchor says which line is the last. It is not synced: after a crash of
// the machine it may lag behind the log, it never runs ahead.
func (l *Log) moveAnchor(a anchor) error {
	_, at, err := l.readAnchor()
	if err != nil {
		at = 0 // the log says that it was lost
	}
	f, err := l.opt.FS.OpenFile(filepath.Join(l.opt.Dir, anchorFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("move the anchor of the audit log: %w", err)
	}
	if _, err = f.Seek(at, io.SeekStart); err == nil {
		_, err = f.Write(a.slot())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("move the anchor of the audit log: %w", err)
	}
	return nil
}

// lost says whether an anchor that was there is not any more.
func lost(err error, files []string) bool {
	return err != nil && (!errors.Is(err, fs.ErrNotExist) || len(files) > 0)
}
