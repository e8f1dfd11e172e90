// Package terminal is the process that holds a session's terminal: this program
// again, run as the session's user, which knows of the session no more than the
// bytes that are typed and printed, and where the session worker itself has the
// screen not even these. Its other end, in that worker, is here too. They talk
// in frames over two pipes.
package terminal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind is the first byte of a frame; a 32-bit big-endian length and so many
// bytes follow.
type kind byte

const (
	kindOpen   kind = 1 // to the terminal, once and first: Spec as JSON
	kindInput  kind = 2 // to the terminal: bytes to type
	kindSize   kind = 3 // to the terminal: rows and columns, 16 bits each
	kindHangup kind = 4 // to the terminal: end all that runs in it
	kindOpened kind = 5 // from it: the shell runs
	kindOutput kind = 6 // from it: bytes that were printed
	kindTaken  kind = 7 // from it: 32 bits, bytes of input typed since the last
	kindExit   kind = 8 // from it, last: Exit as JSON
	// Of programs without a terminal only.
	kindEnd    kind = 9  // to it: no more input comes
	kindSignal kind = 10 // to it: a proc.Signal, 8 bits
	kindError  kind = 11 // from it: bytes that were printed as errors
)

const (
	headerSize = 5
	// maxFrame bounds the bytes of a frame.
	maxFrame = 64 << 10
	// window is how much input may be on its way into the terminal. It all
	// fits into the terminal process, which so never stops reading: whatever
	// the shell does, a hang-up is heard.
	window = 64 << 10
	// outputSize bounds what is printed in one frame.
	outputSize = 32 << 10
)

var errFrame = errors.New("the terminal's process and the session's do not understand each other")

func header(b []byte, k kind, n int) []byte {
	b = append(b, byte(k))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// reader takes frames out of a stream. Frames that came together are taken
// without another read.
type reader struct {
	r    io.Reader
	buf  []byte
	from int
	to   int
}

func newReader(r io.Reader) *reader {
	return &reader{r: r, buf: make([]byte, headerSize+maxFrame)}
}

// next returns the next frame; it is valid until next is called again.
func (r *reader) next() (kind, []byte, error) {
	for {
		if k, b, ok, err := r.buffered(); ok || err != nil {
			return k, b, err
		}
		if r.from > 0 {
			r.to = copy(r.buf, r.buf[r.from:r.to])
			r.from = 0
		}
		n, err := r.r.Read(r.buf[r.to:])
		r.to += n
		if n == 0 && err != nil {
			if err == io.EOF && r.to > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
	}
}

// buffered returns a frame that is there already.
func (r *reader) buffered() (kind, []byte, bool, error) {
	have := r.buf[r.from:r.to]
	if len(have) < headerSize {
		return 0, nil, false, nil
	}
	n := binary.BigEndian.Uint32(have[1:])
	if n > maxFrame {
		return 0, nil, false, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
	}
	if len(have) < headerSize+int(n) {
		return 0, nil, false, nil
	}
	r.from += headerSize + int(n)
	return kind(have[0]), have[headerSize : headerSize+n], true, nil
}
