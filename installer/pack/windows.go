package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// program is the one executable; what else has its name is a copy of it.
const program = name + ".exe"

// stage puts what a package for Windows has into dir: the program, signed if a
// certificate was given, and the texts, under the stock agent's names.
func (o options) stage(dir string) error {
	notices, err := o.notices(program)
	if err != nil {
		return err
	}
	template, err := os.ReadFile("installer/" + name + ".json.template")
	if err != nil {
		return err
	}
	exe, err := os.ReadFile(filepath.Join(o.bin, program))
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{program: exe, name + ".json.template": template, "LICENSE": []byte(license), "NOTICE.md": notices} {
		if file != program {
			content = bytes.ReplaceAll(content, []byte("\n"), []byte("\r\n"))
		}
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			return err
		}
	}
	if err := o.sign(filepath.Join(dir, program)); err != nil {
		return err
	}
	return o.dated(dir)
}

// dated gives all files in dir the package's time.
func (o options) dated(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Chtimes(filepath.Join(dir, e.Name()), o.time, o.time); err != nil {
			return err
		}
	}
	return nil
}

// zip makes an archive of the files and of the scripts that install them.
func (o options) zip(scratch string) error {
	if err := o.stage(scratch); err != nil {
		return err
	}
	for _, script := range []string{"install.ps1", "install.bat", "uninstall.ps1", "uninstall.bat"} {
		b, err := os.ReadFile(filepath.Join("installer/windows", script))
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) // cmd.exe misreads others
		if err := os.WriteFile(filepath.Join(scratch, script), b, 0o644); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(scratch)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(scratch, e.Name()))
		if err != nil {
			return err
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.Name(), Method: zip.Deflate, Modified: o.time})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(o.out, b.Bytes(), 0o644)
}

// sign signs a file for Windows in place, if a certificate was given.
func (o options) sign(file string) error {
	if o.cert == "" {
		return nil
	}
	if o.key == "" {
		return errors.New("-cert needs its key: -key")
	}
	args := []string{"sign", "-certs", o.cert, "-key", o.key, "-h", "sha256", "-n", "ssmagent"}
	if o.stampedBy != "" {
		args = append(args, "-ts", o.stampedBy)
	}
	if pass := os.Getenv("PACKAGE_KEY_PASSPHRASE"); pass != "" { // not on a command line, where others would see it
		held, err := os.CreateTemp("", "pass")
		if err != nil {
			return err
		}
		defer os.Remove(held.Name())
		_, err = io.WriteString(held, pass)
		if err := errors.Join(err, held.Close()); err != nil {
			return err
		}
		args = append(args, "-readpass", held.Name())
	}
	signed := file + ".signed"
	if _, err := tool("", "osslsigncode", append(args, "-in", file, "-out", signed)...); err != nil {
		return err
	}
	return os.Rename(signed, file)
}

// tool runs a program in dir and returns what it printed; the error has it, too.
func tool(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(slices.Concat([]string{name}, args[:min(2, len(args))]), " "), err, out)
	}
	return string(out), nil
}
