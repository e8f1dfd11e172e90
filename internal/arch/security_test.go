package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesTests: every test that SECURITY.md says holds an asset is
// there, and every asset has one.
func TestSecurityNamesTests(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n## Assets\n")
	section, _, found := strings.Cut(rest, "\n## ")
	if !found {
		t.Fatal("SECURITY.md has no section of assets")
	}
	name := regexp.MustCompile("`([a-z/0-9]+): ((?:Test|Fuzz)[A-Za-z0-9]+)`")
	assets := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[0]) == "asset" {
			continue
		}
		assets++
		tests := name.FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("nothing holds the asset%s", cells[0])
		}
		for _, m := range tests {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("asset%s: there is no %s in %s", cells[0], m[2], m[1])
			}
		}
	}
	if assets < 10 {
		t.Errorf("only %d assets were found in the table", assets)
	}
}

// hasTest says whether a test stands in the folder.
func hasTest(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+test+"(") {
			return true
		}
	}
	return false
}
