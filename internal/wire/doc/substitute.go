package doc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// ErrParameterName says that a declared name is no valid expression
// (names act as regular expressions inside text).
var ErrParameterName = errors.New("unusable parameter name")

const (
	maxExpanded = 8 << 20 // bytes of parameter values inserted in one document
	maxOddNames = 50      // names that need an expression of their own
	maxOddName  = 256     // bytes of such a name
)

var (
	alphanumeric = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9]+$`) })
	wholeValue   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\{\{\s*([a-zA-Z0-9]+)\s*\}\}$`) })
	// The names that stand for themselves also as an expression.
	literal     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]+$`) })
	placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{\s*([a-zA-Z0-9_-]+)\s*\}\}`) })
)

// budget bounds what parameter values may add to a document.
type budget struct{ left int }

func (b *budget) take(n int) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("%w: its parameter values, each time they are used, add up to more than %d bytes", ErrTooLarge, maxExpanded)
	}
	return nil
}

// substituter replaces the placeholders of a document in one pass.
type substituter struct {
	values map[string]any
	text   map[string]string // text forms
	odd    []oddName
	budget *budget
}

// oddName is a declared name that acts as a regular expression inside text, as
// in stock agents, which is the only place where it is replaced.
type oddName struct {
	name string
	re   *regexp.Regexp
}

func newSubstituter(values map[string]any, b *budget) (*substituter, error) {
	s := &substituter{values: values, text: map[string]string{}, budget: b}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if literal().MatchString(name) {
			continue
		}
		re, err := regexp.Compile(`\{\{\s*(?:` + name + `)\s*\}\}`)
		if err != nil || len(name) > maxOddName {
			return nil, fmt.Errorf("%w %s: use letters and digits only", ErrParameterName, quoted(name))
		}
		s.odd = append(s.odd, oddName{name, re})
	}
	if len(s.odd) > maxOddNames {
		return nil, fmt.Errorf("%w: %d parameter names are not made of letters, digits, _ and -, at most %d are accepted", ErrTooLarge, len(s.odd), maxOddNames)
	}
	return s, nil
}

// tree returns v with every string in it substituted. Keys stay as they are.
func (s *substituter) tree(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return s.value(v)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			c, err := s.tree(e)
			if err != nil {
				return nil, err
			}
			list[i] = c
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			c, err := s.tree(e)
			if err != nil {
				return nil, err
			}
			m[k] = c
		}
		return m, nil
	}
	return v, nil
}

// value substitutes one string: a reference that is all of it becomes the
// parameter's value with its type.
func (s *substituter) value(text string) (any, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	if m := wholeValue().FindStringSubmatch(text); m != nil {
		if v, ok := s.values[m[1]]; ok {
			return v, s.budget.take(len(s.textOf(m[1])))
		}
	}
	return s.inText(text)
}

// argument substitutes an argument of a precondition, which must stay text.
func (s *substituter) argument(text string) (string, error) {
	v, err := s.value(text)
	if err != nil {
		return "", err
	}
	t, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%w: %s stands alone and its value is no text; put it inside a text or use a String parameter", ErrPrecondition, quoted(text))
	}
	return t, nil
}

type span struct {
	start, end int
	name       string
}

func (s *substituter) inText(text string) (string, error) {
	spans := s.find(text)
	if len(spans) == 0 {
		return text, nil
	}
	var b strings.Builder
	at := 0
	for _, p := range spans {
		if p.start < at {
			continue // two names claim the same place: the first has it
		}
		t := strings.ReplaceAll(s.textOf(p.name), "$$", "$")
		if err := s.budget.take(len(t)); err != nil {
			return "", err
		}
		b.WriteString(text[at:p.start])
		b.WriteString(t)
		at = p.end
	}
	b.WriteString(text[at:])
	return b.String(), nil
}

// find lists the placeholders of known names in text, in order.
func (s *substituter) find(text string) []span {
	if !strings.Contains(text, "{{") {
		return nil
	}
	var spans []span
	for _, m := range placeholder().FindAllStringSubmatchIndex(text, -1) {
		if name := text[m[2]:m[3]]; s.known(name) {
			spans = append(spans, span{m[0], m[1], name})
		}
	}
	for _, o := range s.odd {
		for _, m := range o.re.FindAllStringIndex(text, -1) {
			spans = append(spans, span{m[0], m[1], o.name})
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return a.start - b.start })
	return spans
}

func (s *substituter) known(name string) bool {
	_, ok := s.values[name]
	return ok
}

func (s *substituter) textOf(name string) string {
	if t, ok := s.text[name]; ok {
		return t
	}
	t := valueText(s.values[name])
	s.text[name] = t
	return t
}

// valueText is the text form of a value: text as it is, anything else as JSON
// with HTML escapes; empty when it cannot be encoded.
func valueText(v any) string {
	if t, ok := v.(string); ok {
		return t
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
