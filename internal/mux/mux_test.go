package mux

import (
	"encoding/binary"
	"slices"
	"testing"
)

func frame(command byte, id uint32, data string) []byte {
	b := []byte{1, command, byte(len(data)), byte(len(data) >> 8)}
	return append(binary.LittleEndian.AppendUint32(b, id), data...)
}

// However the bytes are cut, a connection's second end is seen once, and none
// in what connections carry.
func TestWatcher(t *testing.T) {
	t.Parallel()
	all := slices.Concat(
		frame(0, 3, ""), frame(0, 5, ""), frame(2, 3, string(frame(1, 5, ""))), frame(1, 5, ""), frame(3, 0, ""),
		frame(2, 3, string(make([]byte, 700))), frame(1, 3, ""), frame(1, 5, ""), frame(2, 7, ""), frame(1, 7, ""), frame(1, 3, ""))
	for size := 1; size < 64; size++ {
		var got []uint32
		w := Watcher{Aborted: func(id uint32) { got = append(got, id) }}
		for b := range slices.Chunk(all, size) {
			w.Saw(b)
		}
		if !slices.Equal(got, []uint32{5, 3}) {
			t.Fatalf("in pieces of %d: %v", size, got)
		}
	}
}

func TestWatcherIsBounded(t *testing.T) {
	t.Parallel()
	w := Watcher{Aborted: func(id uint32) { t.Errorf("%d broke off", id) }}
	for id := range uint32(3 * maxEnds) {
		w.Saw(frame(1, id, ""))
		if len(w.ends) > maxEnds {
			t.Fatalf("%d ends are remembered", len(w.ends))
		}
	}
}

type calls []string

func (c *calls) CloseWrite() error { *c = append(*c, "half"); return nil }
func (c *calls) Close() error      { *c = append(*c, "close"); return nil }

func TestAbort(t *testing.T) {
	t.Parallel()
	var c calls
	if Abort(&c); !slices.Equal(c, calls{"half", "close"}) {
		t.Errorf("%q", c)
	}
}

func FuzzWatcher(f *testing.F) {
	f.Add(frame(1, 3, ""), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var one, two []uint32
		w := Watcher{Aborted: func(id uint32) { one = append(one, id) }}
		w.Saw(b)
		cut = min(max(cut, 0), len(b))
		v := Watcher{Aborted: func(id uint32) { two = append(two, id) }}
		v.Saw(b[:cut])
		v.Saw(b[cut:])
		if !slices.Equal(one, two) {
			t.Fatalf("%v and %v", one, two)
		}
	})
}
