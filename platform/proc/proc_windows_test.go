package proc_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

func TestTrees(t *testing.T) { proctest.RunTrees(t, false) }

func TestTethered(t *testing.T) { proctest.RunTethered(t) }

// TestPipes: our ends give up when told to, whether anybody reads or writes.
func TestPipes(t *testing.T) {
	for name, pipe := range map[string]func() (ours, theirs *os.File, err error){"to": proc.PipeTo, "from": proc.PipeFrom} {
		ours, theirs, err := pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := ours.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<20) // more than fits
		if name == "to" {
			_, err = ours.Write(buf)
		} else {
			_, err = ours.Read(buf)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if err := theirs.Close(); err != nil {
			t.Error(err)
		}
		if err := ours.SetDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		if _, err := ours.Read(buf); name == "from" && err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
	}
}
