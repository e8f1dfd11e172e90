package program

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/platform/tty"
)

// showEvery is the pace of the live table, countEvery that of counts in JSON.
const (
	showEvery  = 500 * time.Millisecond
	countEvery = 5 * time.Second
)

// board shows what becomes of tunnels: a live table to a person, lines to
// whoever else reads, or JSON lines.
type board struct {
	s    streams
	live *os.File // the terminal; nil: there is none
	json bool

	mu    sync.Mutex
	drawn int      // lines of the table on the screen
	news  []string // lines to stand above the table
}

func newBoard(s streams, asJSON bool) *board {
	b := &board{s: s, json: asJSON}
	if out, ok := s.out.(*os.File); ok && !asJSON && tty.IsTerminal(out) && tty.Escapes(out) {
		b.live = out
	}
	return b
}

// news is a line of JSON output.
type news struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Session string    `json:"session,omitempty"`
	Local   string    `json:"local"`
	Target  string    `json:"target"`
	Text    string    `json:"text,omitempty"`
	*Sums
}

// Sums are a tunnel's counts.
type Sums struct {
	Open  int64 `json:"open"`
	Total int64 `json:"total"`
	Up    int64 `json:"up"`
	Down  int64 `json:"down"`
}

func (t *tunnel) sums() Sums {
	if t.forward == nil {
		return Sums{}
	}
	c := t.forward.Counts()
	return Sums{c.Open, c.Total, c.Up, c.Down}
}

// say tells of an event.
func (b *board) say(t *tunnel, event, text string) {
	text = visible(text)
	if b.json {
		n := news{Event: strings.ReplaceAll(event, " ", "-"), Text: text}
		if event == "ended" {
			c := t.sums()
			n.Sums = &c
		}
		b.line(t, n)
		return
	}
	line := fmt.Sprintf("%s -> %s: %s", t.address(), t.target(t.node), event)
	if text != "" {
		line += ": " + text
	}
	if event == "ended" {
		c := t.sums()
		line += fmt.Sprintf("; %d connections, %s up, %s down", c.Total, amount(c.Up), amount(c.Down))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live != nil {
		b.news = append(b.news, line) // the next drawing shows it
		return
	}
	fmt.Fprintln(b.s.out, line)
}

func (b *board) line(t *tunnel, n news) {
	n.Time, n.Local, n.Target, n.Session = time.Now().UTC(), t.address(), t.target(t.node), t.session.id
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = json.NewEncoder(b.s.out).Encode(n)
}

// show keeps the table or the counts up to date until ctx ends.
func (b *board) show(ctx context.Context, all []*tunnel) {
	if b.live == nil && !b.json {
		return
	}
	every := showEvery
	if b.json {
		every = countEvery
	}
	timer := clock.Real{}.NewTimer(every)
	defer timer.Stop()
	before, at := make([]Sums, len(all)), time.Now()
	for {
		over := ctx.Err() != nil
		now := make([]Sums, len(all))
		for i, t := range all {
			now[i] = t.sums()
			if b.json && now[i] != before[i] && !over {
				b.line(t, news{Event: "counts", Sums: &now[i]})
			}
		}
		if b.live != nil {
			b.draw(all, now, before, time.Since(at))
		}
		if over {
			return
		}
		before, at = now, time.Now()
		timer.Reset(every)
		select {
		case <-timer.C():
		case <-ctx.Done():
		}
	}
}

// draw puts the news and the table in the place of the last table.
func (b *board) draw(all []*tunnel, now, before []Sums, since time.Duration) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LOCAL\tTARGET\tSTATE\tOPEN\tTOTAL\tUP\tDOWN\tUP/s\tDOWN/s")
	for i, t := range all {
		n, was := now[i], before[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", t.address(), t.target(t.node), t.is(), n.Open, n.Total, amount(n.Up), amount(n.Down),
			amount(rate(n.Up-was.Up, since)), amount(rate(n.Down-was.Down, since)))
	}
	w.Flush()
	cols, _, ok := tty.Size(b.live)
	if !ok {
		cols = 80
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var out bytes.Buffer
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.drawn)
	}
	out.WriteString("\r\x1b[J") // what is below goes
	for _, line := range b.news {
		fmt.Fprintln(&out, line)
	}
	b.news, b.drawn = nil, 0
	for line := range strings.Lines(table.String()) {
		line = strings.TrimRight(line, "\n")
		fmt.Fprintln(&out, line[:min(len(line), int(cols)-1)]) // a line that wraps would be two
		b.drawn++
	}
	_, _ = b.live.Write(out.Bytes())
}

// rate is how many bytes a second n in since are.
func rate(n int64, since time.Duration) int64 {
	if since < time.Millisecond {
		return 0
	}
	return int64(float64(n) / since.Seconds())
}

// amount writes a number of bytes for people.
func amount(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1024, "KMGTPE"
	for f >= 999.95 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}
