package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogFileRolls(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log", "agent.log")
	l, err := openLog(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if _, err := l.Write([]byte(strings.Repeat(string(rune('a'+i)), 6))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "iiiiii", ".1": "hhhhhh", ".5": "dddddd"} {
		if b, err := os.ReadFile(path + name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(path + ".6"); err == nil {
		t.Error("a sixth roll is kept")
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}
