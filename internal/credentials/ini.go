package credentials

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxFile bounds a shared file.
const maxFile = 1 << 20

// section is one section's properties by their names in lower case.
type section map[string]string

// parse reads a shared file into its sections by their whole names. Nested
// properties, which only the AWS CLI reads, are left out. An error names the
// file and the line, and never quotes what may be a secret.
func parse(name string, b []byte) (map[string]section, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes; it is no shared AWS file", name, maxFile)
	}
	p := parser{out: map[string]section{}}
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(b, []byte("\ufeff"))) {
		number++
		text := strings.TrimRight(string(line), "\r\n")
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, fmt.Errorf("%s, line %d is no UTF-8 text; save the file as UTF-8", name, number)
		}
		if fault := p.line(text); fault != "" {
			return nil, fmt.Errorf("%s, line %d %s", name, number, fault)
		}
	}
	return p.out, nil
}

type parser struct {
	out     map[string]section
	current section
	key     string // the property that a continuation belongs to
}

// line takes one line in and says what is wrong with it.
func (p *parser) line(text string) (fault string) {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "", strings.HasPrefix(trimmed, "#"), strings.HasPrefix(trimmed, ";"):
		return ""
	case trimmed[0] == '[':
		return p.header(trimmed)
	case p.current == nil:
		return "stands before any section; the first line must be one like [default]"
	case text[0] == ' ' || text[0] == '\t':
		return p.indented(trimmed)
	}
	if !p.property(trimmed) {
		return "is neither a section [name] nor a property key = value"
	}
	return ""
}

// property takes key = value or key: value in, whichever sign comes first; it
// is false for what is neither.
func (p *parser) property(text string) bool {
	i := strings.IndexAny(text, "=:")
	if i < 0 {
		return false
	}
	key := strings.ToLower(strings.TrimSpace(text[:i]))
	if key == "" {
		return false
	}
	p.key = key
	p.current[key] = unquoted(strings.TrimSpace(withoutComment(text[i+1:])))
	return true
}

// unquoted takes off quotes around a whole value.
func unquoted(v string) string {
	if n := len(v); n >= 2 && v[0] == v[n-1] && (v[0] == '"' || v[0] == '\'') {
		return v[1 : n-1]
	}
	return v
}

func (p *parser) header(text string) (fault string) {
	name, rest, ok := strings.Cut(text[1:], "]")
	rest = strings.TrimSpace(rest)
	name = strings.Join(strings.Fields(name), " ")
	if !ok || name == "" || rest != "" && rest[0] != '#' && rest[0] != ';' {
		return "is no section: it must be like [default] or [profile name]"
	}
	if p.out[name] == nil {
		p.out[name] = section{}
	}
	p.current, p.key = p.out[name], ""
	return ""
}

// indented is a nested property, the continuation of a value, or a property
// that somebody indented.
func (p *parser) indented(text string) (fault string) {
	switch {
	case p.key != "" && p.current[p.key] == "":
		return "" // nested
	case p.property(text):
	case p.key == "":
		return "is indented and continues nothing"
	default:
		p.current[p.key] += "\n" + text
	}
	return ""
}

// withoutComment ends a value where a blank is followed by # or ;.
func withoutComment(v string) string {
	for i := 1; i < len(v); i++ {
		if (v[i] == '#' || v[i] == ';') && (v[i-1] == ' ' || v[i-1] == '\t') {
			return v[:i-1]
		}
	}
	return v
}
