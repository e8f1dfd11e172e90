package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// tarball writes a tar.gz with the program and scripts that install it, for
// systems whose packages are neither deb nor rpm. With a key its signature is
// beside it, in a file of its name and .asc.
func (o options) tarball(string) error {
	copyright, err := o.copyright()
	if err != nil {
		return err
	}
	t := newTree(fmt.Sprintf("%s-%s-linux-%s", name, o.version, o.arch), o.time)
	t.file(name, filepath.Join(o.bin, name), 0o755)
	t.file(name+".service", "service/"+name+".service", 0o644)
	t.file(name+".json.template", "installer/"+name+".json.template", 0o644)
	t.add("doc/copyright", copyright, 0o644)
	for _, text := range []string{"README.md", "SECURITY.md", "docs/configuration.md", "docs/deviations.md"} {
		t.file("doc/"+filepath.Base(text), text, 0o644)
	}
	t.file("install.sh", "installer/tar/install.sh", 0o755)
	t.file("uninstall.sh", "installer/tar/uninstall.sh", 0o755)
	b, err := t.bytes()
	if err == nil && o.key != "" {
		err = o.signBeside(b)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, b, 0o644)
}
