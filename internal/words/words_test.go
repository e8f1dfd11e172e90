package words

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`ls -la /tmp`:                 {"ls", "-la", "/tmp"},
		"  a\tb\r\n c  ":              {"a", "b", "c"},
		`sh -c 'echo "$1" \x' a`:      {"sh", "-c", `echo "$1" \x`, "a"},
		`echo "a b" c"d e"f`:          {"echo", "a b", "cd ef"},
		`echo "\$\"\\\x"`:             {"echo", `$"\\x`},
		`echo a\ b \'\"`:              {"echo", "a b", `'"`},
		`echo '' ""`:                  {"echo", "", ""},
		"echo a # b c\nd":             {"echo", "a", "d"},
		`echo a#b`:                    {"echo", "a#b"},
		"echo a\\\nb \"c\\\nd\"":      {"echo", "ab", "cd"},
		`C:\Windows`:                  {"C:Windows"},
		`grüße 日本`:                    {"grüße", "日本"},
		`echo trailing\`:              {"echo", "trailing"},
		`echo $HOME $(id) ; > | && *`: {"echo", "$HOME", "$(id)", ";", ">", "|", "&&", "*"},
	} {
		got, err := Split(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"", "  ", "# x", `a 'b`, `a "b`, `a "b\"`, "''", "a\x00b"} {
		if got, err := Split(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// FuzzSplit: what was joined is split again, and no line does harm.
func FuzzSplit(f *testing.F) {
	f.Add(`a 'b c' "d\"e" \f # g`, "x")
	f.Add("'", "'\"\\")
	f.Fuzz(func(t *testing.T, line, word string) {
		got, err := Split(line)
		if err == nil {
			again, err := Split(Join(got))
			if err != nil || !slices.Equal(again, got) {
				t.Fatalf("%q became %q, %v", got, again, err)
			}
		}
		if word == "" || strings.IndexByte(word, 0) >= 0 {
			return
		}
		if got, err := Split(Join([]string{word, "", word})); err != nil || !slices.Equal(got, []string{word, "", word}) {
			t.Fatalf("%q became %q, %v", word, got, err)
		}
	})
}
