package arch

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stockTargets are the words of the stock agent's makefile, which people and
// their scripts know.
func stockTargets() []string {
	return strings.Fields(`
		build build-release release package pre-build checkstyle quick-integtest quick-test coverage
		build-linux build-windows build-darwin build-linux-386 build-windows-386 build-darwin-386 build-arm build-arm64
		lint-all package-rpm package-deb package-win package-rpm-386 package-deb-386 package-win-386
		package-rpm-arm64 package-deb-arm package-deb-arm64 package-linux package-windows package-darwin get-tools clean`)
}

// TestMakeTargets: every word of the stock agent's is there, and every word says
// what it is for and is no file.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.* ## \S`).FindAllStringSubmatch(string(b), -1) {
		described[m[1]] = true
	}
	for _, word := range stockTargets() {
		if !described[word] {
			t.Errorf("make %s is missing, or has no ## that says what it is for", word)
		}
	}
	_, rest, _ := strings.Cut(string(b), "\n.PHONY: ")
	line, _, _ := strings.Cut(rest, "\n")
	phony := strings.Fields(line)
	for word := range described {
		if !slices.Contains(phony, word) {
			t.Errorf("%s is missing in .PHONY: a file of that name would be taken for it", word)
		}
	}
	for _, word := range phony {
		if !described[word] {
			t.Errorf("%s of .PHONY is no described target", word)
		}
	}
	if len(described) < len(stockTargets()) || len(phony) < 40 {
		t.Errorf("only %d targets and %d words of .PHONY were found", len(described), len(phony))
	}
}
