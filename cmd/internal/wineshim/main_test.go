package main

import (
	"bytes"
	"debug/pe"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestForwarder(t *testing.T) {
	t.Parallel()
	f, err := pe.NewFile(bytes.NewReader(forwarder("a.dll", "Function", "b.Other")))
	if err != nil {
		t.Fatal(err)
	}
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 || f.Characteristics&pe.IMAGE_FILE_DLL == 0 || len(f.Sections) != 1 {
		t.Fatalf("%+v %+v", f.FileHeader, f.OptionalHeader)
	}
	section, err := f.Sections[0].Data()
	if err != nil {
		t.Fatal(err)
	}
	directory := h.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT]
	if directory.VirtualAddress != f.Sections[0].VirtualAddress || int(directory.Size) > len(section) {
		t.Errorf("exports at %#x, %d of %d bytes", directory.VirtualAddress, directory.Size, len(section))
	}
	if !bytes.HasSuffix(section[:directory.Size], []byte("\x00a.dll\x00Function\x00b.Other\x00")) {
		t.Errorf("section %q", section)
	}
}

// TestOverlay: each patch is applied to what it was written for, and to
// nothing else.
func TestOverlay(t *testing.T) {
	t.Parallel()
	std, dir := t.TempDir(), filepath.Join(t.TempDir(), "overlay")
	for _, p := range patches() {
		name := filepath.Join(std, filepath.FromSlash(p.file))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("before\n"+p.old+"after"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeOverlay(std, dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	for _, p := range patches() {
		name := filepath.Join(std, filepath.FromSlash(p.file))
		b, err := os.ReadFile(o.Replace[name])
		if want := "before\n" + p.replacement + "after"; err != nil || string(b) != want {
			t.Errorf("%s: %q %v, want %q", p.file, b, err, want)
		}
		if err := os.WriteFile(name, []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeOverlay(std, dir); err == nil || !strings.Contains(err.Error(), "is not as expected") {
		t.Errorf("a changed library: %v", err)
	}
}

// TestModule: the module's go.mod has the copy of x/sys with the patch, and is
// left when it is there.
func TestModule(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "module")
	if err := writeModule("../../..", dir); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.Contains(string(mod), "\nreplace golang.org/x/sys => "+dir) {
		t.Errorf("go.mod %s, %v", mod, err)
	}
	patched := filepath.Join(dir, "sys", filepath.FromSlash(asService().file))
	b, err := os.ReadFile(patched)
	if err != nil || strings.Contains(string(b), asService().old) || !strings.Contains(string(b), "services.exe") {
		t.Errorf("%s: %v", patched, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sys", "windows", "zsyscall_windows.go")); err != nil || !strings.Contains(string(b), "= createProcess(appName") {
		t.Errorf("CreateProcess is not patched (%v)", err)
	}
	if err := os.Remove(patched); err != nil {
		t.Fatal(err)
	}
	if err := writeModule("../../..", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(patched); err == nil {
		t.Error("what is there already was made again")
	}
}
