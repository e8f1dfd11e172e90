package asciicast

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxCells bounds a line of a Transcript; a longer one is broken.
	maxCells = 8 << 10
	// maxSequence bounds a control sequence; a longer one is none.
	maxSequence = 4 << 10
)

// Transcript makes readable lines of what a terminal printed: the last state
// of every line of the main screen, in the order in which they were left. It
// follows the cursor within a line (backspace, carriage return, erasing,
// inserting); colours go, and so does what full-screen programs draw on the
// alternate screen. It is no terminal: a cursor that moves up ends the line.
type Transcript struct {
	w    io.Writer
	err  error
	line []rune
	col  int

	seq       []byte // of a control sequence, from ESC on
	kind      byte   // '[', ']' …: what seq is; 0: ESC alone
	alternate bool
	tail      []byte // beginning of a character
}

// NewTranscript returns a Transcript that writes to w.
func NewTranscript(w io.Writer) *Transcript { return &Transcript{w: w} }

// Text writes the Transcript of a whole recording. ErrTorn is as for Next.
func Text(r *Reader, w io.Writer) error {
	t := NewTranscript(w)
	for {
		e, err := r.Next()
		if err == nil && e.Kind == Output {
			_, err = io.WriteString(t, e.Data)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, t.Close())
	}
}

// Write implements io.Writer.
func (t *Transcript) Write(b []byte) (int, error) {
	n := len(b)
	if len(t.tail) > 0 {
		b = append(t.tail, b...)
		t.tail = nil
	}
	for len(b) > 0 && t.err == nil {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(b) {
			t.tail = append(t.tail, b...)
			break
		}
		t.rune(r, b[:size])
		b = b[size:]
	}
	return n, t.err
}

// Close writes the last line, if it has not been ended.
func (t *Transcript) Close() error {
	if len(t.line) > 0 {
		t.feed()
	}
	return t.err
}

func (t *Transcript) rune(r rune, raw []byte) {
	switch {
	case r == 0x1b && (len(t.seq) == 0 || t.kind != ']' && t.kind != 'P'):
		t.seq, t.kind = append(t.seq[:0], 0x1b), 0
	case len(t.seq) > 0:
		t.sequence(r, raw)
	case t.alternate:
	default:
		t.plain(r)
	}
}

func (t *Transcript) plain(r rune) {
	switch r {
	case '\n', '\v', '\f':
		t.feed()
	case '\r':
		t.col = 0
	case '\b':
		t.col = max(t.col-1, 0)
	case '\t':
		t.move(t.col/8*8 + 8)
	default:
		if unicode.IsControl(r) {
			return
		}
		if t.col >= maxCells {
			t.feed()
		}
		t.reach(t.col)
		if t.col == len(t.line) {
			t.line = append(t.line, r)
		} else {
			t.line[t.col] = r
		}
		t.col++
	}
}

// sequence takes one more character of a control sequence.
func (t *Transcript) sequence(r rune, raw []byte) {
	if len(t.seq) > maxSequence {
		t.seq = t.seq[:0]
		return
	}
	t.seq = append(t.seq, raw...)
	switch t.kind {
	case 0:
		t.introduced(r)
	case '[':
		if r >= '@' && r <= '~' {
			t.control(string(t.seq[2:len(t.seq)-1]), byte(r))
			t.seq = t.seq[:0]
		} else if r < ' ' { // a terminal does it in the midst of a sequence
			t.seq = t.seq[:len(t.seq)-len(raw)]
			if !t.alternate {
				t.plain(r)
			}
		}
	case ']', 'P': // up to BEL or ESC \
		escaped := len(t.seq) > 2+len(raw) && t.seq[len(t.seq)-len(raw)-1] == 0x1b
		switch {
		case r == 0x07 && t.kind == ']' || r == '\\' && escaped:
			t.seq = t.seq[:0]
		case escaped: // another sequence begins
			t.seq, t.kind = append(append(t.seq[:0], 0x1b), raw...), 0
			t.introduced(r)
		}
	default: // ESC ( B and the like: one character more
		t.seq = t.seq[:0]
	}
}

// introduced takes the character after ESC.
func (t *Transcript) introduced(r rune) {
	switch r {
	case '[', ']', '(', ')', '*', '+', '#', '%', ' ':
		t.kind = byte(r)
	case 'P', '^', '_', 'X':
		t.kind = 'P'
	case 'M', 'D', 'E', 'c': // index, next line, reset
		t.seq = t.seq[:0]
		if !t.alternate {
			t.feed()
		}
	default:
		t.seq = t.seq[:0]
	}
}

// control does what a control sequence says, as far as it concerns the line.
func (t *Transcript) control(args string, final byte) {
	if rest, ok := strings.CutPrefix(args, "?"); ok {
		if final == 'h' || final == 'l' {
			t.mode(rest, final == 'h')
		}
		return
	}
	if t.alternate || args != "" && (args[0] < '0' || args[0] > '9') && args[0] != ';' {
		return
	}
	first, _, _ := strings.Cut(args, ";")
	n, _ := strconv.Atoi(first)
	many := min(max(n, 1), maxCells)
	switch final {
	case 'C', 'a':
		t.move(t.col + many)
	case 'D':
		t.col = max(t.col-many, 0)
	case 'G', '`':
		t.move(many - 1)
	case 'A', 'B', 'E', 'F', 'H', 'f', 'd', 'J', 'L', 'M', 'S', 'T':
		t.vertical(args, final, n)
	case 'K':
		t.erase(n)
	case 'P':
		if t.col < len(t.line) {
			t.line = append(t.line[:t.col], t.line[min(t.col+many, len(t.line)):]...)
		}
	case 'X':
		for i := t.col; i < min(t.col+many, len(t.line)); i++ {
			t.line[i] = ' '
		}
	case '@':
		if t.col < len(t.line) && len(t.line)+many <= 2*maxCells {
			rest := string(t.line[t.col:])
			t.line = append(append(t.line[:t.col], []rune(strings.Repeat(" ", many))...), []rune(rest)...)
		}
	}
}

// vertical is what leaves the line. Erasing what lies below does not.
func (t *Transcript) vertical(args string, final byte, n int) {
	if final == 'J' && n == 0 {
		t.erase(0)
		return
	}
	if len(t.line) > 0 {
		t.feed()
	}
	t.col = 0
	if _, col, ok := strings.Cut(args, ";"); ok && (final == 'H' || final == 'f') {
		c, _ := strconv.Atoi(col)
		t.move(c - 1)
	}
}

// mode switches to the alternate screen and back.
func (t *Transcript) mode(args string, on bool) {
	for arg := range strings.SplitSeq(args, ";") {
		if arg == "1049" || arg == "1047" || arg == "47" {
			t.alternate = on
		}
	}
}

func (t *Transcript) erase(n int) {
	switch n {
	case 0:
		t.line = t.line[:min(t.col, len(t.line))]
	case 1:
		for i := range min(t.col+1, len(t.line)) {
			t.line[i] = ' '
		}
	case 2:
		t.line = t.line[:0]
	}
}

func (t *Transcript) move(col int) { t.col = min(max(col, 0), maxCells) }

// reach fills the line with blanks up to col.
func (t *Transcript) reach(col int) {
	for len(t.line) < col {
		t.line = append(t.line, ' ')
	}
}

// feed writes the line and begins another.
func (t *Transcript) feed() {
	if t.err == nil {
		if _, err := io.WriteString(t.w, strings.TrimRight(string(t.line), " ")+"\n"); err != nil {
			t.err = fmt.Errorf("write the transcript: %w", err)
		}
	}
	t.line, t.col = t.line[:0], 0
}
