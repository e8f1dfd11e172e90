package tty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

const utf8Page = 65001

// reader reads the console as UTF-16: its own conversion to UTF-8 loses what
// is not ASCII, and os.File takes Ctrl-Z for the end.
type reader struct {
	h    windows.Handle
	buf  [1024]uint16
	text *utf16Text
}

func newReader(in *os.File) reader {
	return reader{h: windows.Handle(in.Fd()), text: new(utf16Text)}
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for {
		if n := r.text.read(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		var n uint32
		if err := windows.ReadConsole(r.h, &r.buf[0], uint32(len(r.buf)), &n, nil); err != nil {
			return 0, fmt.Errorf("read the console: %w", err)
		}
		r.text.add(r.buf[:n])
	}
}

func isTerminal(f *os.File) bool {
	var mode uint32
	return windows.GetConsoleMode(windows.Handle(f.Fd()), &mode) == nil
}

func size(f *os.File) (cols, rows uint32, err error) {
	var i windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &i); err != nil {
		return 0, 0, err
	}
	w := i.Window // the buffer is larger: it holds what has scrolled away
	return uint32(max(int(w.Right)-int(w.Left)+1, 0)), uint32(max(int(w.Bottom)-int(w.Top)+1, 0)), nil
}

func escapes(out *os.File) bool {
	var mode uint32
	h := windows.Handle(out.Fd())
	return windows.GetConsoleMode(h, &mode) == nil &&
		windows.SetConsoleMode(h, mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// undo is a list of steps back, the last one first.
type undo []func() error

func (u undo) run() error {
	var errs []error
	for i := len(u) - 1; i >= 0; i-- {
		errs = append(errs, u[i]())
	}
	return errors.Join(errs...)
}

func makeRaw(in, out *os.File) (func() error, error) {
	var back undo
	err := setMode(&back, in, func(m uint32) uint32 {
		m &^= windows.ENABLE_ECHO_INPUT | windows.ENABLE_LINE_INPUT | windows.ENABLE_PROCESSED_INPUT
		return m | windows.ENABLE_VIRTUAL_TERMINAL_INPUT
	})
	if err == nil {
		err = setPage(&back, "input", windows.GetConsoleCP, windows.SetConsoleCP)
	}
	if err == nil && out != nil && isTerminal(out) {
		err = setMode(&back, out, func(m uint32) uint32 {
			return m | windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING | windows.DISABLE_NEWLINE_AUTO_RETURN
		})
		if err == nil {
			err = setPage(&back, "output", windows.GetConsoleOutputCP, windows.SetConsoleOutputCP)
		}
	}
	if err != nil {
		return nil, errors.Join(err, back.run())
	}
	return back.run, nil
}

func setMode(back *undo, f *os.File, change func(uint32) uint32) error {
	h := windows.Handle(f.Fd())
	var before uint32
	if err := windows.GetConsoleMode(h, &before); err != nil {
		return fmt.Errorf("read the console's mode: %w", err)
	}
	if err := windows.SetConsoleMode(h, change(before)); err != nil {
		return fmt.Errorf("set the console's mode (Windows 10 1607 or Server 2016 is needed): %w", err)
	}
	*back = append(*back, func() error { return windows.SetConsoleMode(h, before) })
	return nil
}

func setPage(back *undo, which string, get func() (uint32, error), set func(uint32) error) error {
	before, err := get()
	if err == nil {
		err = set(utf8Page)
	}
	if err != nil {
		return fmt.Errorf("set the console's %s code page to UTF-8: %w", which, err)
	}
	*back = append(*back, func() error { return set(before) })
	return nil
}

// lookEvery is how often the size is looked at: the console tells of changes
// only among the input records, which reading as text throws away.
const lookEvery = 200 * time.Millisecond

func resized(ctx context.Context, out *os.File) <-chan struct{} {
	changed := make(chan struct{}, 1)
	if !IsTerminal(out) {
		return changed
	}
	go func() {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		cols, rows, _ := size(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			c, r, err := size(out)
			if err != nil || c == cols && r == rows {
				continue
			}
			cols, rows = c, r
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed
}
