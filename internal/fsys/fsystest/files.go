package fsystest

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"ssmagent/internal/fsys"
)

var _ fsys.FS = (*Disk)(nil)

// OpenFile implements fsys.FS.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (fsys.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.open(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &file{d: d, n: n, name: name, flag: flag, life: d.life}, nil
}

func (d *Disk) open(name string, flag int, perm fs.FileMode) (*node, error) {
	dir, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	n := dir.entries[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case n == nil:
		if err := d.mutate("create", name); err != nil {
			return nil, err
		}
		n = &node{mode: perm.Perm(), mod: time.Now()}
		d.change(part{dir, base, n})
		return n, nil
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, fs.ErrExist
	case n.link:
		return nil, fsys.ErrLink
	case n.entries != nil:
		return nil, fsys.ErrIrregular
	case writable(flag) && d.ro:
		return nil, fsys.ErrReadOnly
	}
	if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if err := d.mutate("truncate", name); err != nil {
			return nil, err
		}
		n.data = nil
	}
	return n, nil
}

// Symlink plants a link, for tests.
func (d *Disk) Symlink(_, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError("symlink", name, err)
	}
	d.change(part{dir, base, &node{mode: fs.ModeSymlink | 0o777, link: true}})
	return nil
}

// Mkdir implements fsys.FS.
func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent(name)
	if err == nil && dir.entries[base] != nil {
		err = fs.ErrExist
	}
	if err == nil {
		err = d.mutate("mkdir", name)
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	d.change(part{dir, base, newDir(perm)})
	return nil
}

// Rename implements fsys.FS. As on journalling file systems it reaches the
// disk in both directories at once, when either is synced.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, old, err := d.parent(oldname)
	if err != nil {
		return pathError("rename", oldname, err)
	}
	to, base, err := d.parent(newname)
	if err != nil {
		return pathError("rename", newname, err)
	}
	n, there := from.entries[old], to.entries[base]
	switch {
	case n == nil:
		return pathError("rename", oldname, fs.ErrNotExist)
	case n == there:
		return nil
	case there != nil && there.entries != nil && (n.entries == nil || len(there.entries) > 0):
		return pathError("rename", newname, fs.ErrExist)
	}
	if err := d.mutate("rename", newname); err != nil {
		return pathError("rename", newname, err)
	}
	d.change(part{from, old, nil}, part{to, base, n})
	return nil
}

// Remove implements fsys.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.entries[base]
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	if err := d.mutate("remove", name); err != nil {
		return pathError("remove", name, err)
	}
	d.change(part{dir, base, nil})
	d.free(int64(len(n.data)))
	return nil
}

// ReadDir implements fsys.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.dir(name)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	var out []fs.DirEntry
	for base, child := range n.entries {
		out = append(out, fs.FileInfoToDirEntry(child.info(base)))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func (d *Disk) dir(name string) (*node, error) {
	n, err := d.find(name)
	switch {
	case err != nil:
		return nil, err
	case n.link:
		return nil, fsys.ErrLink
	case n.entries == nil:
		return nil, syscall.ENOTDIR
	}
	return n, nil
}

// Lstat implements fsys.FS.
func (d *Disk) Lstat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	elems := append([]string{"/"}, split(name)...)
	return n.info(elems[len(elems)-1]), nil
}

// SyncDir implements fsys.FS.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.dir(name)
	if err == nil {
		err = d.mutate("syncdir", name)
	}
	if err != nil {
		return pathError("sync", name, err)
	}
	var chosen []*change
	for _, c := range d.pending {
		if slices.ContainsFunc(c.parts, func(p part) bool { return p.dir == n }) {
			chosen = append(chosen, c)
		}
	}
	d.commit(chosen)
	return nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func (n *node) info(name string) info { return info{name, int64(len(n.data)), n.mode, n.mod} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mod }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// file is an open file of a Disk.
type file struct {
	d    *Disk
	n    *node
	name string
	flag int
	life int

	at     int64
	closed bool
}

// usable locks the disk if the file is of use; the caller unlocks.
func (f *file) usable(op string) error {
	f.d.mu.Lock()
	var err error
	if f.closed {
		err = fs.ErrClosed
	} else if f.life != f.d.life {
		err = ErrStopped
	}
	if err != nil {
		f.d.mu.Unlock()
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *file) Read(b []byte) (int, error) {
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	if f.flag&os.O_WRONLY != 0 {
		return 0, pathError("read", f.name, syscall.EBADF)
	}
	if f.at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[f.at:])
	f.at += int64(n)
	return n, nil
}

func (f *file) Write(b []byte) (int, error) {
	if err := f.usable("write"); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	if !writable(f.flag) {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	err := f.d.mutate("write", f.name)
	if err != nil {
		return 0, pathError("write", f.name, err)
	}
	if f.flag&os.O_APPEND != 0 {
		f.at = int64(len(f.n.data))
	}
	if f.d.space >= 0 && int64(len(b)) > f.d.space { // a full disk takes what fits
		b, err = b[:f.d.space], pathError("write", f.name, fsys.ErrNoSpace)
	}
	if f.d.space >= 0 {
		f.d.space -= int64(len(b))
	}
	if end := f.at + int64(len(b)); end > int64(len(f.n.data)) {
		f.n.data = append(f.n.data, make([]byte, end-int64(len(f.n.data)))...)
	}
	n := copy(f.n.data[f.at:], b)
	f.at += int64(n)
	f.n.mod = time.Now()
	return n, err
}

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *file) Sync() error {
	if err := f.usable("sync"); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	if err := f.d.mutate("sync", f.name); err != nil {
		return pathError("sync", f.name, err)
	}
	f.n.durable = slices.Clone(f.n.data)
	return nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	if err := f.usable("stat"); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	elems := split(f.name)
	return f.n.info(elems[len(elems)-1]), nil
}

func (f *file) Truncate(size int64) error {
	if err := f.usable("truncate"); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	if size < 0 || !writable(f.flag) {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	if err := f.d.mutate("truncate", f.name); err != nil {
		return pathError("truncate", f.name, err)
	}
	if size <= int64(len(f.n.data)) {
		f.d.free(int64(len(f.n.data)) - size)
		f.n.data = f.n.data[:size:size]
	} else {
		f.n.data = append(f.n.data, make([]byte, size-int64(len(f.n.data)))...)
	}
	return nil
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.usable("seek"); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += int64(len(f.n.data))
	}
	if offset < 0 {
		return 0, pathError("seek", f.name, fs.ErrInvalid)
	}
	f.at = offset
	return offset, nil
}
