package fsys

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteInPlace makes a file of mode 0600 anew. A crash may leave it torn, unlike
// WriteFile's; without sync it survives the program, not the machine.
func WriteInPlace(f FS, name string, b []byte, sync bool) error {
	file, err := f.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		_, err = file.Write(b)
	}
	if err == nil && sync {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// SyncEntry makes a new directory durable: what is named in it, and its own name.
func SyncEntry(f FS, dir string) error {
	if err := f.SyncDir(dir); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(dir))
}
