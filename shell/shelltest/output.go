package shelltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"ssmagent/platform/proc"
)

const lines = 1200000 // of seq, 10.3 MB with their ends

func largeOutput() []byte {
	var want bytes.Buffer
	for i := 1; i <= lines; i++ {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	return want.Bytes()
}

func testLargeOutput(t *testing.T, s Suite) {
	x := s.script(t, "seq 1 "+strconv.Itoa(lines))
	if got, want := []byte(x.rest()), largeOutput(); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	x.ends(proc.State{})
}

// testSlowReader: what is still in the terminal at the program's end is read,
// however late and in whatever pieces.
func testSlowReader(t *testing.T, s Suite) {
	x := s.script(t, "trap '' HUP; sleep 1000 & seq 1 400; exit 5")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := x.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a state before the output was read: %v", err)
	}
	var got, want []byte
	buf := make([]byte, 7)
	for {
		n, err := x.Read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= 400; i++ {
		want = fmt.Appendf(want, "%d\r\n", i)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	x.ends(proc.State{Code: 5})
	if err := x.Hangup(); err != nil {
		t.Error(err)
	}
}
