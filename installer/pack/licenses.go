package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
)

// licenseFile is what modules call the text of their licence and notices.
var licenseFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|notice)([.-].*)?$`)

// license is what the program itself may be used under.
const license = "ssmagent, an agent for AWS Systems Manager. Its owners have published no licence for it: all rights are theirs.\n"

// copyright is the one text of both that Debian wants.
func (o options) copyright() ([]byte, error) {
	b, err := o.notices(name)
	return append([]byte(license), b...), err
}

// setupNotices writes the text that belongs beside ssm-setup-cli, which is handed
// on by itself.
func (o options) setupNotices(string) error {
	b, err := o.notices("ssm-setup-cli")
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, append([]byte(license), b...), 0o644)
}

// notices has the licences of everything that is linked into the program, which
// they ask to come with it. A module without one is an error.
func (o options) notices(program string) ([]byte, error) {
	built, err := buildinfo.ReadFile(filepath.Join(o.bin, program))
	if err != nil {
		return nil, err
	}
	dirs, err := moduleDirs(built.Deps)
	if err != nil {
		return nil, err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var b bytes.Buffer
	b.WriteString("Linked into the program are the works below, each under its own licence.\n")
	if err := licenses(&b, "Go "+built.GoVersion, string(bytes.TrimSpace(root))); err != nil {
		return nil, err
	}
	for _, m := range built.Deps {
		if err := licenses(&b, m.Path+" "+m.Version, dirs[m.Path]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// licenses writes the licence files of a folder.
func licenses(b *bytes.Buffer, what, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("licence of %s: %w", what, err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.IsDir() || !licenseFile.MatchString(e.Name()) })
	if len(entries) == 0 {
		return fmt.Errorf("licence of %s: none in %s", what, dir)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\n==== %s: %s\n\n%s\n", what, e.Name(), bytes.TrimSpace(text))
	}
	return nil
}

// moduleDirs are the folders of modules that the repository's module needs. It
// asks for these only: a list of all would fetch what nobody builds.
func moduleDirs(modules []*debug.Module) (map[string]string, error) {
	dirs := map[string]string{}
	if len(modules) == 0 {
		return dirs, nil
	}
	words := []string{"list", "-m", "-json"}
	for _, m := range modules {
		words = append(words, m.Path)
	}
	out, err := exec.Command("go", words...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return dirs, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		dirs[m.Path] = m.Dir
	}
}
