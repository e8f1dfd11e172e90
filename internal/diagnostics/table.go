package diagnostics

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is that of the table, unless a word is longer than its place.
const width = 80

// Table prints results as the stock agent does, each line ended by end.
func Table(w io.Writer, results []Result, end string) error {
	rows := [][3]string{{"Check", "Status", "Note"}}
	for _, r := range results {
		rows = append(rows, [3]string{r.Check, string(r.Status), r.Note})
	}
	var cols [3]int
	word := 0
	for _, r := range rows {
		cols[0] = max(cols[0], utf8.RuneCountInString(r[0]))
		cols[1] = max(cols[1], utf8.RuneCountInString(r[1]))
		for _, f := range strings.Fields(r[2]) {
			word = max(word, utf8.RuneCountInString(f))
		}
	}
	const frame = 10 // borders and blanks
	cols[2] = max(word, width-frame-cols[0]-cols[1])
	t := table{w: w, end: end, cols: cols}
	t.rule("┌", "┬", "┐")
	for i, r := range rows {
		if i > 0 {
			t.rule("├", "┼", "┤")
		}
		t.row(r)
	}
	t.rule("└", "┴", "┘")
	return t.err
}

// table is one that is being printed.
type table struct {
	w    io.Writer
	end  string
	cols [3]int
	err  error
}

func (t *table) print(line string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, line+t.end)
	}
}

func (t *table) rule(left, middle, right string) {
	parts := make([]string, len(t.cols))
	for i, n := range t.cols {
		parts[i] = strings.Repeat("─", n+2)
	}
	t.print(left + strings.Join(parts, middle) + right)
}

func (t *table) row(r [3]string) {
	for _, note := range wrap(r[2], t.cols[2]) {
		t.print(fmt.Sprintf("│ %-*s │ %-*s │ %-*s │", t.cols[0], r[0], t.cols[1], r[1], t.cols[2], note))
		r[0], r[1] = "", ""
	}
}

// wrap breaks text at blanks into lines of at most n characters, but for words
// that are longer.
func wrap(text string, n int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= n:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
