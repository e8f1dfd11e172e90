// Package asciicast writes and reads recordings of terminals in the format
// asciicast v2: a line with a JSON object about the recording, then a JSON
// array a line for everything that happened. It knows nothing of files.
package asciicast

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Kind is what an event is, in the format's own letter.
type Kind string

// The kinds that are written here. Readers meet others, and pass them over.
const (
	Output Kind = "o"
	Input  Kind = "i"
	Resize Kind = "r" // data is COLSxROWS
	Marker Kind = "m" // data is a label
)

// Header is the first line of a recording.
type Header struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp,omitempty"` // Unix seconds
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	// Session is a member of ours, which other players pass over.
	Session *Session `json:"ssmagent,omitempty"`
}

// Session says whose recording it is.
type Session struct {
	ID       string `json:"session"`
	Owner    string `json:"owner,omitempty"` // ARN of who opened it
	User     string `json:"user,omitempty"`  // account on the node; empty: the agent's
	Document string `json:"document,omitempty"`
	Node     string `json:"node,omitempty"`
	Input    bool   `json:"input,omitempty"` // what was typed is in it, where it was echoed
}

// Event is a line after the first.
type Event struct {
	At   time.Duration // since the beginning
	Kind Kind
	Data string
}

const (
	version = 2
	// MaxLine bounds a line in bytes, its line feed included.
	MaxLine = 1 << 20
	// maxData bounds what goes into one event: escaped, a byte may become six.
	maxData = 128 << 10
	// maxSize bounds columns and rows.
	maxSize = 65535
	// maxTime bounds when something may have happened, so that no sum overflows.
	maxTime = 100 * 365 * 24 * time.Hour
)

// AppendHeader appends the first line to b. The version is filled in.
func AppendHeader(b []byte, h Header) ([]byte, error) {
	h.Version = version
	if err := h.check(); err != nil {
		return b, err
	}
	line, err := json.Marshal(h)
	if err == nil && len(line) >= MaxLine {
		err = fmt.Errorf("it has %d bytes, at most %d are possible", len(line), MaxLine-1)
	}
	if err != nil {
		return b, fmt.Errorf("header of a recording: %w", err)
	}
	return append(append(b, line...), '\n'), nil
}

func (h Header) check() error {
	switch {
	case h.Version != version:
		return fmt.Errorf("the recording has version %d of the format, only %d is known", h.Version, version)
	case h.Width < 1 || h.Height < 1 || h.Width > maxSize || h.Height > maxSize:
		return fmt.Errorf("the recording has a terminal of %d×%d, which is none", h.Width, h.Height)
	}
	return nil
}

// Encoder makes lines of events. The beginning of a character at the end of
// what is printed is held back until the rest comes, so that no character is
// torn between two lines; bytes that belong to no character become U+FFFD, as
// the format can hold text only.
type Encoder struct {
	last time.Duration
	out  []byte // held back, of output
	in   []byte // of input
}

// Append appends to b what it takes to say that data was printed or typed.
func (e *Encoder) Append(b []byte, at time.Duration, k Kind, data []byte) []byte {
	held := &e.out
	if k == Input {
		held = &e.in
	}
	if len(*held) > 0 {
		data = append(*held, data...)
		*held = nil
	}
	if n := unfinished(data); n > 0 {
		*held = append(*held, data[len(data)-n:]...)
		data = data[:len(data)-n]
	}
	for len(data) > 0 {
		n := len(data)
		if n > maxData {
			n = maxData - unfinished(data[:maxData])
		}
		b = e.line(b, at, k, data[:n])
		data = data[n:]
	}
	return b
}

// Resize appends that the terminal has a new size.
func (e *Encoder) Resize(b []byte, at time.Duration, cols, rows int) []byte {
	return e.line(b, at, Resize, []byte(strconv.Itoa(cols)+"x"+strconv.Itoa(rows)))
}

// Mark appends a marker.
func (e *Encoder) Mark(b []byte, at time.Duration, label string) []byte {
	return e.line(b, at, Marker, []byte(label))
}

// Finish appends what is still held back: characters that never became whole.
func (e *Encoder) Finish(b []byte, at time.Duration) []byte {
	if len(e.out) > 0 {
		b = e.line(b, at, Output, e.out)
	}
	if len(e.in) > 0 {
		b = e.line(b, at, Input, e.in)
	}
	e.out, e.in = nil, nil
	return b
}

// line appends one event. Time never goes back, whatever the clock does.
func (e *Encoder) line(b []byte, at time.Duration, k Kind, data []byte) []byte {
	at = min(max(at, e.last), maxTime)
	e.last = at
	micros := at.Microseconds()
	b = append(b, '[')
	b = strconv.AppendInt(b, micros/1e6, 10)
	b = append(b, '.')
	fraction := strconv.FormatInt(1e6+micros%1e6, 10)
	b = append(b, fraction[1:]...)
	b = append(b, `, "`...)
	b = append(b, k...)
	b = append(b, `", "`...)
	b = appendText(b, data)
	return append(b, "\"]\n"...)
}

// appendText appends data as the inside of a JSON string.
func appendText(b, data []byte) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i := 0; i < len(data); {
		c := data[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRune(data[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, data[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\ufffd"...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(b, data[from:]...)
}

// unfinished is how many bytes at the end of b begin a character whose rest
// may still come.
func unfinished(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i]; utf8.RuneStart(last) {
			if last >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

// Size reads the data of a Resize.
func (e Event) Size() (cols, rows int, err error) {
	c, r, ok := cutSize(e.Data)
	if !ok {
		return 0, 0, errors.New("a change of size is not COLSxROWS")
	}
	return c, r, nil
}
