// Package transfer copies files and folders over a pair of byte streams, such
// as the standard streams of a command on another machine. One end sends, the
// other receives; either may be hostile to the other's files: a receiver writes
// nothing outside its folder, and nothing is put in its place before its digest
// is right. What a broken copy left is gone on with by the next.
package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Version is that of the frames. Ends of different versions do not copy.
const Version = 1

// kind is the first byte of a frame; a 32-bit big-endian length and so many
// bytes follow.
type kind byte

// Frames of the sender.
const (
	kindTotal   kind = 'T' // Total as JSON: what will come
	kindEntry   kind = 'E' // entry as JSON
	kindOffset  kind = 'O' // offset as JSON: where the file's data begins, after wanted
	kindData    kind = 'D' // bytes of the file
	kindSum     kind = 'S' // the file's end: SHA-256 of all of it
	kindSkipped kind = 'N' // text: something is not sent, on purpose
	kindFailed  kind = 'F' // text: something cannot be sent; within a file, no more of it comes
	kindEnd     kind = 'Z' // no more entries
)

// Frames of the receiver.
const (
	kindWanted kind = 'W' // wanted as JSON, after the entry of a large file
	kindDone   kind = 'R' // Report as JSON, after the end
)

// Frames of both.
const (
	kindHello kind = 'H' // hello as JSON, once and first
	kindFault kind = 'X' // text: nothing more will come
)

const (
	headerSize = 5
	// maxFrame bounds the bytes of a frame, its header included.
	maxFrame = 64 << 10
	maxPath  = 4096
	// resumeFrom is the size from which on a file is gone on with: to ask
	// takes a round trip.
	resumeFrom = 1 << 20
	// maxProblems bounds the sentences of a Report; all are counted.
	maxProblems = 20
	maxProblem  = 500 // bytes
)

type hello struct {
	Version int `json:"version"`
}

// Total is what a sender is about to send.
type Total struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// entry is a file or a folder; the path is empty for what was asked for, else
// relative to it with slashes.
type entry struct {
	Path     string      `json:"path,omitempty"`
	Folder   bool        `json:"folder,omitempty"`
	Mode     fs.FileMode `json:"mode"` // permissions only
	Size     int64       `json:"size,omitempty"`
	Modified time.Time   `json:"modified"`
}

// wanted says how much of a file is there already; Refused, why it is not
// wanted at all.
type wanted struct {
	Have    int64  `json:"have,omitempty"`
	Sum     []byte `json:"sum,omitempty"` // SHA-256 of that
	Refused string `json:"refused,omitempty"`
}

type offset struct {
	Offset int64 `json:"offset"`
}

// Report is what became of a copy.
type Report struct {
	Files   int64 `json:"files"`   // that are whole in their place
	Bytes   int64 `json:"bytes"`   // of them
	Resumed int64 `json:"resumed"` // bytes of them that an earlier copy had left
	Failed  int64 `json:"failed"`  // entries that are not
	Skipped int64 `json:"skipped"` // what was neither file nor folder
	// Problems are sentences, not more than some.
	Problems []string `json:"problems,omitempty"`
}

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		text := fmt.Sprintf(format, args...)
		r.Problems = append(r.Problems, text[:min(len(text), maxProblem)])
	}
}

// Progress is how far a copy is.
type Progress struct {
	Total
	Name      string // of the file at hand
	DoneFiles int64
	DoneBytes int64 // with those that were there already
}

// Watch is told how far a copy is, often; it must be quick. nil is nobody.
type Watch func(Progress)

// ErrPeer is what the other end said of why it does not go on.
var ErrPeer = errors.New("the other end")

// errWrite is of a stream that takes nothing any more.
var errWrite = errors.New("send to the other end")

// errFrame is of an end that does not keep to the protocol.
var errFrame = errors.New("the two ends of the copy do not understand each other")

// check says whether e may be written.
func (e entry) check() error {
	switch {
	case e.Path != "" && (len(e.Path) > maxPath || path.Clean(e.Path) != e.Path || e.Path == "." ||
		!filepath.IsLocal(filepath.FromSlash(e.Path)) || strings.ContainsAny(e.Path, "\x00\\")):
		return fmt.Errorf("%w: the name %.200q leads elsewhere", errFrame, e.Path)
	case e.Size < 0 || e.Folder && e.Size != 0:
		return fmt.Errorf("%w: %.200q has %d bytes", errFrame, e.Path, e.Size)
	case e.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("%w: %.200q has the mode %o", errFrame, e.Path, e.Mode)
	}
	return nil
}

// wire is one end of the copy's streams.
type wire struct {
	r   io.Reader
	w   io.Writer
	in  []byte
	out []byte
}

func newWire(r io.Reader, w io.Writer) *wire {
	return &wire{r: r, w: w, in: make([]byte, maxFrame), out: make([]byte, 0, maxFrame)}
}

// put writes a frame.
func (w *wire) put(k kind, b []byte) error {
	if len(b) > maxFrame-headerSize {
		return fmt.Errorf("%w: a frame of %d bytes", errFrame, len(b))
	}
	n := len(b)
	w.out = append(append(w.out[:0], byte(k), byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), b...)
	if _, err := w.w.Write(w.out); err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	return nil
}

func (w *wire) putJSON(k kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.put(k, b)
}

// next reads a frame; it is valid until next is called again. A fault of the
// other end is an error.
func (w *wire) next() (kind, []byte, error) {
	h := w.in[:headerSize]
	if _, err := io.ReadFull(w.r, h); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // every copy ends with a word
		}
		return 0, nil, err
	}
	k, n := kind(h[0]), int(h[1])<<24|int(h[2])<<16|int(h[3])<<8|int(h[4])
	if n > maxFrame-headerSize {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
	}
	b := w.in[headerSize : headerSize+n]
	if _, err := io.ReadFull(w.r, b); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	if k == kindFault {
		return 0, nil, fmt.Errorf("%w: %s", ErrPeer, b[:min(len(b), maxProblem)])
	}
	return k, b, nil
}

// expect reads a frame of the kind into v.
func (w *wire) expect(k kind, v any) error {
	got, b, err := w.next()
	if err != nil {
		return err
	}
	if got != k {
		return fmt.Errorf("%w: %q came instead of %q", errFrame, byte(got), byte(k))
	}
	return decode(b, v)
}

func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

// greet exchanges versions.
func (w *wire) greet() error {
	if err := w.putJSON(kindHello, hello{Version}); err != nil {
		return err
	}
	var h hello
	if err := w.expect(kindHello, &h); err != nil {
		return err
	}
	if h.Version != Version {
		return fmt.Errorf("the other end copies by version %d, this one by %d; use the same version of ssmagent on both", h.Version, Version)
	}
	return nil
}

// fault tells the other end of err, unless it was its own. Where that takes
// nothing any more, it may have said why.
func (w *wire) fault(err error) error {
	switch {
	case errors.Is(err, errWrite):
		for {
			if _, _, rerr := w.next(); errors.Is(rerr, ErrPeer) {
				return rerr
			} else if rerr != nil {
				return err
			}
		}
	case err != nil && !errors.Is(err, ErrPeer):
		text := err.Error()
		_ = w.put(kindFault, []byte(text[:min(len(text), maxProblem)]))
	}
	return err
}
