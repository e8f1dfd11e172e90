package credentials

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Merge returns the text of a shared credentials file, which name is for its
// error, with the access key of profile replaced by c. Every other byte stays:
// other profiles and keys, comments, blank lines, order, line ends. It fails
// where the text is no such file, and where profile cannot be a name in one.
func Merge(name string, text []byte, profile string, c aws.Credentials) ([]byte, error) {
	if _, err := parse(name, text); err != nil {
		return nil, err
	}
	m := merger{profile: profile, end: "\n", last: -1, values: [][2]string{
		{keyID, c.AccessKeyID}, {keySecret, c.SecretAccessKey}, {keyToken, c.SessionToken},
	}}
	for line := range bytes.Lines(text) {
		m.line(string(line))
	}
	merged := []byte(m.finish())
	after, err := parse(name, merged)
	if p := after[profile]; err != nil || p[keyID] != c.AccessKeyID || p[keySecret] != c.SecretAccessKey || p[keyToken] != c.SessionToken {
		return nil, fmt.Errorf("%s would be no such file with the access key in profile %q; name another profile", name, printable(profile))
	}
	return merged, nil
}

// merger copies a file line by line.
type merger struct {
	profile string
	values  [][2]string
	out     []string
	end     string // of a line
	within  bool   // of the profile
	own     bool   // what is indented goes on with a value that was replaced
	last    int    // index in out of the profile's last line with content; -1: it is not there yet
	written []string
}

func (m *merger) line(line string) {
	text := strings.TrimRight(line, "\r\n")
	if end := line[len(text):]; len(m.out) == 0 && end != "" {
		m.end = end
	}
	content := strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	switch {
	case content == "" || content[0] == '#' || content[0] == ';':
		m.out = append(m.out, line)
		return
	case content[0] == '[':
		m.own = false
		header, _, _ := strings.Cut(content[1:], "]")
		m.within = strings.Join(strings.Fields(header), " ") == m.profile
	case m.within && m.property(text, line[len(text):]):
		return
	case m.own && (text[0] == ' ' || text[0] == '\t'):
		return
	}
	m.out = append(m.out, line)
	if m.within && (m.last < 0 || content[0] != '[') {
		m.last = len(m.out) - 1
	}
}

// property replaces the line of one of the values and says whether it was one.
func (m *merger) property(text, end string) bool {
	indented := text[0] == ' ' || text[0] == '\t'
	if indented && m.own {
		return false
	}
	i := strings.IndexAny(text, "=:")
	at := -1
	if i >= 0 {
		key := strings.ToLower(strings.TrimSpace(text[:i]))
		at = slices.IndexFunc(m.values, func(v [2]string) bool { return v[0] == key })
	}
	if at < 0 {
		m.own = m.own && indented
		return false
	}
	rest := text[i+1:]
	lead := rest[:len(rest)-len(strings.TrimLeft(rest, " \t"))]
	comment := rest[len(withoutComment(rest)):]
	m.out = append(m.out, text[:i+1]+lead+m.values[at][1]+comment+end)
	m.own, m.last = true, len(m.out)-1
	m.written = append(m.written, m.values[at][0])
	return true
}

// finish adds what had no line yet.
func (m *merger) finish() string {
	var add []string
	if m.last < 0 {
		if len(m.out) > 0 {
			add = append(add, m.end)
		}
		add = append(add, "["+m.profile+"]"+m.end)
		m.last = len(m.out) - 1
	}
	for _, v := range m.values {
		if !slices.Contains(m.written, v[0]) {
			add = append(add, v[0]+" = "+v[1]+m.end)
		}
	}
	if len(add) > 0 && m.last >= 0 && !strings.HasSuffix(m.out[m.last], "\n") {
		m.out[m.last] += m.end
	}
	return strings.Join(slices.Insert(m.out, m.last+1, add...), "")
}
