package program

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/transfer"
	"ssmagent/platform/tty"
)

// drawEvery is the pace of the progress bar.
const drawEvery = 200 * time.Millisecond

// bar shows how far a copy is, to a person.
type bar struct {
	out *os.File // nil: there is nobody

	mu sync.Mutex
	at transfer.Progress
}

// isTerminal says whether a person sees what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && tty.IsTerminal(f)
}

func newBar(s streams) *bar {
	b := &bar{}
	if f, ok := s.err.(*os.File); ok && tty.IsTerminal(f) && tty.Escapes(f) {
		b.out = f
	}
	return b
}

// watch is a transfer.Watch.
func (b *bar) watch(p transfer.Progress) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	b.at = p
	b.mu.Unlock()
}

// during shows the bar while f runs.
func (b *bar) during(f func()) {
	if b.out == nil {
		f()
		return
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := clock.Real{}.NewTimer(drawEvery)
		defer t.Stop()
		began := time.Now()
		for {
			select {
			case <-done:
				fmt.Fprint(b.out, "\r\x1b[K")
				return
			case <-t.C():
			}
			b.mu.Lock()
			at := b.at
			b.mu.Unlock()
			cols, _, ok := tty.Size(b.out)
			if !ok {
				cols = 80
			}
			fmt.Fprint(b.out, "\r\x1b[K"+progressLine(at, time.Since(began), int(cols)-1))
			t.Reset(drawEvery)
		}
	})
	f()
	close(done)
	wg.Wait()
}

// barWidth is how many characters the bar itself has.
const barWidth = 20

// progressLine is one line of at most cols characters.
func progressLine(p transfer.Progress, since time.Duration, cols int) string {
	share := 1.0
	if p.Bytes > 0 {
		share = min(float64(p.DoneBytes)/float64(p.Bytes), 1)
	}
	full := int(share * barWidth)
	speed := rate(p.DoneBytes, since)
	left := "-:--"
	if speed > 0 {
		d := time.Duration(float64(max(p.Bytes-p.DoneBytes, 0)) / float64(speed) * float64(time.Second))
		left = fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	line := fmt.Sprintf("[%s%s] %3.0f%%  %s of %s  %s/s  %s  %d/%d  ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		share*100, amount(p.DoneBytes), amount(p.Bytes), amount(speed), left, p.DoneFiles, p.Files)
	text := []rune(line + visible(p.Name))
	return string(text[:min(len(text), max(cols, 1))])
}
