// Package words splits a command line into words by the quoting rules of POSIX
// shells, without anything else that shells do.
package words

import (
	"errors"
	"strings"
)

var (
	errQuote = errors.New("a quotation mark is not closed")
	errNone  = errors.New("it has no words")
	errNUL   = errors.New("it has a NUL byte in it")
)

// Split returns the words of line: at least one, the first not empty. Single
// quotes keep everything, double quotes all but backslashes before $, `, ", \
// and line ends, and outside quotes a backslash keeps the next character. A #
// that begins a word begins a comment.
func Split(line string) ([]string, error) {
	if strings.IndexByte(line, 0) >= 0 {
		return nil, errNUL
	}
	var s splitter
	for rest := line; rest != ""; {
		n, err := s.take(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	s.end()
	if len(s.all) == 0 || s.all[0] == "" {
		return nil, errNone
	}
	return s.all, nil
}

// splitter collects words.
type splitter struct {
	all  []string
	word strings.Builder
	in   bool // a word has begun
}

func (s *splitter) end() {
	if s.in {
		s.all = append(s.all, s.word.String())
		s.word.Reset()
		s.in = false
	}
}

func (s *splitter) add(text string) {
	s.in = true
	s.word.WriteString(text)
}

// take takes what the next character begins, and says how much that is.
func (s *splitter) take(rest string) (int, error) {
	switch c := rest[0]; {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		s.end()
	case c == '\'':
		i := strings.IndexByte(rest[1:], '\'')
		if i < 0 {
			return 0, errQuote
		}
		s.add(rest[1 : 1+i])
		return i + 2, nil
	case c == '"':
		return s.double(rest)
	case c == '\\':
		if len(rest) > 1 && rest[1] != '\n' {
			s.add(rest[1:2])
		}
		return min(2, len(rest)), nil
	case c == '#' && !s.in:
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			return i, nil
		}
		return len(rest), nil
	default:
		s.add(rest[:1])
	}
	return 1, nil
}

// double takes a part in double quotes.
func (s *splitter) double(rest string) (int, error) {
	s.in = true
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\' && i+1 < len(rest) && strings.IndexByte("$`\"\\\n", rest[i+1]) >= 0:
			i++
			if rest[i] != '\n' {
				s.word.WriteByte(rest[i])
			}
		default:
			s.word.WriteByte(c)
		}
	}
	return 0, errQuote
}

// Join is the line of which Split makes all again.
func Join(all []string) string {
	var b strings.Builder
	for i, w := range all {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(w))
	}
	return b.String()
}

// plainWord are the characters that mean nothing to shells.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%"

func quote(w string) string {
	if w != "" && strings.Trim(w, plainWord) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
