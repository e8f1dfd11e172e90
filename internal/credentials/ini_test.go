package credentials

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want map[string]section
		says string
	}{
		"plain":        {"[a]\nK = v\n[b]\r\nx=1\r\n", map[string]section{"a": {"k": "v"}, "b": {"x": "1"}}, ""},
		"byte mark":    {"\ufeff[a]\nk=v", map[string]section{"a": {"k": "v"}}, ""},
		"comments":     {"# c\n; c\n[a] # c\nk = v # c\nl=v#c ;d\n  # c\n", map[string]section{"a": {"k": "v", "l": "v#c"}}, ""},
		"quotes":       {"[a]\nk = \"v w\"\nl: 'x'\nm = \"\nn = a:b\n", map[string]section{"a": {"k": "v w", "l": "x", "m": `"`, "n": "a:b"}}, ""},
		"nested":       {"[a]\ns3 =\n  max = 1\n  x = 2\nk = v\n", map[string]section{"a": {"s3": "", "k": "v"}}, ""},
		"continued":    {"[a]\nk = v\n  w\n", map[string]section{"a": {"k": "v\nw"}}, ""},
		"indented":     {"  [a]\n  k = v\n  l = w\n", map[string]section{"a": {"k": "v", "l": "w"}}, ""},
		"twice":        {"[a]\nk=1\nl=1\n[b]\n[a]\nk=2\n", map[string]section{"a": {"k": "2", "l": "1"}, "b": {}}, ""},
		"blanks":       {"[ profile   x ]\nk=v", map[string]section{"profile x": {"k": "v"}}, ""},
		"no section":   {"\nk=v\n", nil, "f, line 2 stands before any section"},
		"open":         {"[a]\n[b\n", nil, "f, line 2 is no section"},
		"empty":        {"[ ]\n", nil, "f, line 1 is no section"},
		"after":        {"[a] b\n", nil, "f, line 1 is no section"},
		"no property":  {"[a]\nSECRETVALUE\n", nil, "f, line 2 is neither"},
		"no name":      {"[a]\n= v\n", nil, "f, line 2 is neither"},
		"no beginning": {"[a]\n  more\n", nil, "f, line 2 is indented and continues nothing"},
		"UTF-16":       {"\xff\xfe[\x00a\x00", nil, "f, line 1 is no UTF-8 text"},
		"NUL":          {"[a]\nk=\x00\n", nil, "f, line 2 is no UTF-8 text"},
		"large":        {strings.Repeat("#", maxFile+1), nil, "f is larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse("f", []byte(tc.text))
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "SECRET") {
					t.Errorf("%v; want %s", err, tc.says)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// FuzzParse: whatever stands in a file, an error names its line, and no value
// has a line end that only an indented line could have brought.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"[a]\nk=v\n", "\ufeff[profile \"x\"]\r\nk: 'v' # c\r\n  w\n", "[a]\ns3=\n x=1\n", "[", "=", "\xff", "[a]\n  [b]\n b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sections, err := parse("file", b)
		if err != nil {
			if sections != nil || !strings.HasPrefix(err.Error(), "file") {
				t.Fatalf("%v %v", sections, err)
			}
			return
		}
		for name, s := range sections {
			if name == "" || strings.ContainsAny(name, "]\n") {
				t.Errorf("section %q", name)
			}
			for k, v := range s {
				if k == "" || k != strings.ToLower(strings.TrimSpace(k)) || strings.ContainsAny(k, "=:\n") || len(v) > len(b) {
					t.Errorf("%q = %q", k, v)
				}
			}
		}
	})
}
