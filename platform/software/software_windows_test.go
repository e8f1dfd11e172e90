package software

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestListBelow reads entries that it has made in both views.
func TestListBelow(t *testing.T) {
	t.Parallel()
	path := fmt.Sprintf(`SOFTWARE\ssmagent-test-%d`, os.Getpid())
	entry := func(view uint32, id string, texts map[string]string, numbers ...string) {
		t.Helper()
		k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, path+`\`+id, registry.ALL_ACCESS|view)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		for name, text := range texts {
			if err := k.SetStringValue(name, text); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range numbers {
			if err := k.SetDWordValue(name, 1); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() {
			for _, p := range []string{path + `\` + id, path} {
				if k, err := registry.OpenKey(registry.LOCAL_MACHINE, filepath.Dir(p), registry.ALL_ACCESS|view); err == nil {
					_ = registry.DeleteKey(k, filepath.Base(p)) // the upper one goes with its last entry
					k.Close()
				}
			}
		})
	}
	const code = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"
	entry(registry.WOW64_64KEY, code, map[string]string{"DisplayName": "Ä Tool", "DisplayVersion": "1.2.3", "Publisher": "P", "URLInfoAbout": "https://x", "InstallDate": "20260102"}, "WindowsInstaller")
	entry(registry.WOW64_64KEY, "nameless", map[string]string{"DisplayVersion": "1"})
	entry(registry.WOW64_32KEY, "Old", map[string]string{"DisplayName": "Alt"}, "SystemComponent", "Publisher")
	all, err := listBelow(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Program{
		{ID: "Old", Name: "Alt", Bits: 32, Component: true},
		{ID: code, Name: "Ä Tool", Version: "1.2.3", Publisher: "P", URL: "https://x", InstallDate: "20260102", Bits: 64, ByInstaller: true},
	}
	if !slices.Equal(all, want) {
		t.Errorf("%+v", all)
	}
	if !Has(all, strings.ToLower(code)) || Has(all, "nameless") {
		t.Error("what is there is not found, or what is not is")
	}
	if none, err := listBelow(path + `\not-there`); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
	if _, err := List(); err != nil {
		t.Errorf("the machine's own: %v", err)
	}
}

func TestProductCodeOfNoPackage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "text.msi")
	if err := os.WriteFile(file, []byte("no package"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, file + "x"} {
		if code, err := ProductCode(f); err == nil || !strings.Contains(err.Error(), "MsiOpenDatabaseW") {
			t.Errorf("%q %v", code, err)
		}
	}
}
