package secfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestProtect: it goes into all directories, leaves links and files of several
// names alone and names them, and is idempotent. (What rights come out wine does
// not say.)
func TestProtect(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "Amazon", "SSM")
	for range 2 { // made, and found
		if links, err := Protect(home); err != nil || len(links) != 0 {
			t.Fatalf("links %v, %v", links, err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, dir := range []string{filepath.Join(home, "a", "b"), outside} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{filepath.Join(home, "a", "b", "c"), filepath.Join(outside, "file")} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(home, "a", "hard")
	if err := os.Link(filepath.Join(outside, "file"), linked); err != nil {
		t.Fatal(err)
	}
	links, err := Claim(home)
	if err == nil && len(links) == 0 { // it had its rights
		links, err = Protect(home)
	}
	if err != nil || !slices.Equal(links, []string{linked}) {
		t.Errorf("links %v, %v", links, err)
	}
}

// TestProtectRefuses a file, and a parent that is not there.
func TestProtectRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Protect(filepath.Join(t.TempDir(), "none", "Amazon", "SSM")); err == nil || !strings.Contains(err.Error(), "protect ") {
		t.Errorf("without a parent: %v", err)
	}
}

// TestDescriptors: Windows reads them as they are meant.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	for sddl, entries := range map[string]int{"O:BA" + protected: 2, ownedFile: 2, ownedParent: 3, protected + usable: 3} {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatalf("%s: %v", sddl, err)
		}
		control, _, err := sd.Control()
		if err != nil || control&windows.SE_DACL_PROTECTED == 0 {
			t.Errorf("%s is not protected: %b, %v", sddl, control, err)
		}
		dacl, _, err := sd.DACL()
		if err != nil || int(dacl.AceCount) != entries {
			t.Errorf("%s has %d entries, %v", sddl, dacl.AceCount, err)
		}
		if owner, _, err := sd.Owner(); strings.HasPrefix(sddl, "O:") && (err != nil || !owner.IsWellKnown(windows.WinBuiltinAdministratorsSid)) {
			t.Errorf("%s is %v's, %v", sddl, owner, err)
		}
	}
}
