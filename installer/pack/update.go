package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// update makes an archive as updaters take it: a package of the system's
// manager, or on macOS the files themselves, and the scripts that install and
// remove it.
func (o options) update(string) error {
	t := newTree("", o.time)
	scripts := "installer/update"
	switch o.platform {
	case "linux":
		t.file(name+".rpm", filepath.Join(o.bin, name+".rpm"), 0o644)
	case "ubuntu":
		t.file(name+".deb", filepath.Join(o.bin, name+".deb"), 0o644)
	case "darwin":
		scripts = "installer/darwin"
		notice, err := o.copyright()
		if err != nil {
			return err
		}
		t.file(name, filepath.Join(o.bin, name), 0o755)
		t.file(name+".json.template", "installer/"+name+".json.template", 0o644)
		t.file("com.amazon.aws.ssm.plist", "service/com.amazon.aws.ssm.plist", 0o644)
		t.add("NOTICE.txt", notice, 0o644)
	default:
		return fmt.Errorf("-platform is %q: it is linux (rpm), ubuntu (deb) or darwin", o.platform)
	}
	for _, script := range []string{"install.sh", "uninstall.sh"} {
		t.file(script, filepath.Join(scripts, script), 0o755)
	}
	b, err := t.bytes()
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, b, 0o644)
}
