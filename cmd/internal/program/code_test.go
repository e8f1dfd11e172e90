package program

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCodeFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, []byte("fromAFile123\r\nmore"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		code, file, in string
		want, says     string
	}{
		"no file":         {"abc", "", "x\n", "abc", ""},
		"a file":          {"", file, "", "fromAFile123", ""},
		"standard input":  {"", "-", "fromStdin\ny\n", "fromStdin", ""},
		"no line feed":    {"", "-", "fromStdin", "fromStdin", ""},
		"both":            {"abc", "-", "x\n", "", "one of them"},
		"missing":         {"", file + "x", "", "", "-code-file: open"},
		"nothing":         {"", "-", "", "", "no activation code"},
		"an empty line":   {"", "-", "\n", "", "no activation code"},
		"two words":       {"", "-", "a b\n", "", "without blanks"},
		"control letters": {"", "-", "a\x1b[2J\n", "", "no activation code"},
		"endless":         {"", "-", strings.Repeat("x", 300), "", "more than 250"},
	} {
		f := newAgentFlags(streams{err: io.Discard})
		f.code, f.codeFile = tc.code, tc.file
		in := strings.NewReader(tc.in)
		err := f.readCode(in)
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) || err == nil && f.code != tc.want {
			t.Errorf("%s: %q, %v", name, f.code, err)
		}
		if rest, _ := io.ReadAll(in); name == "standard input" && string(rest) != "y\n" {
			t.Errorf("the answer to the question is gone: %q", rest)
		}
		if err != nil && len(tc.in) > 4 && strings.Contains(err.Error(), strings.TrimSpace(tc.in)) {
			t.Errorf("%s: the error shows what was read: %v", name, err)
		}
	}
}

func FuzzCodeLine(f *testing.F) {
	f.Add("code\ny\n")
	f.Fuzz(func(t *testing.T, in string) {
		code, err := codeLine(strings.NewReader(in))
		if err == nil && (code == "" || len(code) > maxCode || strings.ContainsAny(code, " \n\t\x00")) {
			t.Errorf("%q", code)
		}
	})
}
