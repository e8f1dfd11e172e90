package asciicast

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ErrTorn says that the last line is not whole: who wrote the recording did
// not come to its end. What was returned before is all right.
var ErrTorn = errors.New("the recording ends in the middle of a line")

// Reader reads a recording. It holds one line at a time.
type Reader struct {
	Header Header

	r    *bufio.Reader
	line int
	last time.Duration
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	line, err := rd.next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the recording is empty")
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(line, &rd.Header); err != nil {
		return nil, fmt.Errorf("the first line is no header of a recording: %w", err)
	}
	return rd, rd.Header.check()
}

// Next returns the next event: io.EOF at the end, ErrTorn at one that came too
// early. Times never go back.
func (r *Reader) Next() (Event, error) {
	line, err := r.next()
	if err != nil {
		return Event{}, err
	}
	e, err := parseEvent(line)
	if err != nil {
		return Event{}, fmt.Errorf("line %d: %w", r.line, err)
	}
	e.At = max(e.At, r.last)
	r.last = e.At
	return e, nil
}

// next returns a line that is not empty, without its line feed.
func (r *Reader) next() ([]byte, error) {
	for {
		line, err := r.read()
		r.line++
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, ErrTorn
		case err != nil:
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (r *Reader) read() ([]byte, error) {
	line, err := r.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.r.ReadSlice('\n')
		if len(long)+len(line) > MaxLine {
			return nil, fmt.Errorf("line %d has more than %d bytes; is this a recording?", r.line+1, MaxLine)
		}
		long = append(long, line...)
	}
	return long, err
}

func parseEvent(line []byte) (Event, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(line, &parts); err != nil {
		return Event{}, fmt.Errorf("no event: %w", err)
	}
	if len(parts) != 3 {
		return Event{}, fmt.Errorf("an event has three members, not %d", len(parts))
	}
	var seconds float64
	if err := json.Unmarshal(parts[0], &seconds); err != nil || !(seconds >= 0 && seconds <= maxTime.Seconds()) {
		return Event{}, fmt.Errorf("the time %.40q of an event is no number of seconds since the beginning", parts[0])
	}
	e := Event{At: time.Duration(seconds * float64(time.Second))}
	if err := json.Unmarshal(parts[1], &e.Kind); err != nil {
		return Event{}, fmt.Errorf("the kind of an event: %w", err)
	}
	if err := json.Unmarshal(parts[2], &e.Data); err != nil {
		return Event{}, fmt.Errorf("the data of an event: %w", err)
	}
	return e, nil
}

func cutSize(data string) (cols, rows int, ok bool) {
	c, r, _ := strings.Cut(data, "x")
	cols, cerr := strconv.Atoi(c)
	rows, rerr := strconv.Atoi(r)
	return cols, rows, cerr == nil && rerr == nil && cols > 0 && rows > 0 && cols <= maxSize && rows <= maxSize
}

// LastTime is when the last whole event of b happened, of which only the end
// of a recording need be there; 0 when there is none.
func LastTime(b []byte) time.Duration {
	i := bytes.LastIndexByte(b, '\n')
	for i > 0 {
		from := bytes.LastIndexByte(b[:i], '\n') + 1
		if e, err := parseEvent(b[from:i]); err == nil {
			return e.At
		}
		i = from - 1
	}
	return 0
}
