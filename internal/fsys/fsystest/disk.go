// Package fsystest has a disk for tests that forgets what was not synced, and
// the conformance suite that it and the real file system pass.
package fsystest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/fsys"
)

// ErrStopped is what a disk says after StopAt, and old files after a Crash.
var ErrStopped = errors.New("the machine has stopped")

// Disk is a file system in memory. Only synced bytes and synced directory
// entries are sure to survive Crash. Names are absolute; "/" exists. It is safe
// for concurrent use.
type Disk struct {
	mu      sync.Mutex
	root    *node
	pending []*change // directory changes not yet durable, oldest first
	life    int       // crashes so far; older files are dead
	ops     int       // mutating operations so far
	stopAt  int
	space   int64 // -1: endless
	ro      bool
	fail    func(Op) error
}

// Op is a mutating operation, as told to a Fail hook. N counts from 1.
type Op struct {
	N    int
	Kind string // "create", "write", "truncate", "sync", "mkdir", "rename", "remove", "syncdir"
	Name string
}

// node is a file or a directory.
type node struct {
	mode    fs.FileMode
	mod     time.Time
	link    bool
	data    []byte
	durable []byte // content after a crash
	// Entries as they are, and as they are after a crash.
	entries, kept map[string]*node
}

// change is one directory operation, which reaches the disk whole or not at all.
type change struct{ parts []part }

// part sets or (child nil) removes one entry.
type part struct {
	dir   *node
	name  string
	child *node
}

func newDir(perm fs.FileMode) *node {
	return &node{mode: fs.ModeDir | perm.Perm(), entries: map[string]*node{}, kept: map[string]*node{}}
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{root: newDir(0o755), space: -1} }

// Fail calls hook before every mutating operation; its error is the
// operation's. nil ends that. The hook must not use the disk.
func (d *Disk) Fail(hook func(Op) error) { d.mu.Lock(); defer d.mu.Unlock(); d.fail = hook }

// SetSpace lets n more bytes be written before ErrNoSpace; negative: endless.
func (d *Disk) SetSpace(n int64) { d.mu.Lock(); defer d.mu.Unlock(); d.space = n }

// free gives bytes back to a disk that has an end. The caller holds mu.
func (d *Disk) free(n int64) {
	if d.space >= 0 {
		d.space += n
	}
}

// SetReadOnly makes every mutating operation fail with ErrReadOnly.
func (d *Disk) SetReadOnly(on bool) { d.mu.Lock(); defer d.mu.Unlock(); d.ro = on }

// Ops counts the mutating operations so far, syncs included.
func (d *Disk) Ops() int { d.mu.Lock(); defer d.mu.Unlock(); return d.ops }

// StopAt makes the n-th mutating operation (counted as by Ops) and everything
// after it fail with ErrStopped, until Crash. 0: never.
func (d *Disk) StopAt(n int) { d.mu.Lock(); defer d.mu.Unlock(); d.stopAt = n }

// mutate is asked before every mutating operation. The caller holds mu.
func (d *Disk) mutate(kind, name string) error {
	d.ops++
	if d.stopAt > 0 && d.ops >= d.stopAt {
		return ErrStopped
	}
	if d.ro && kind != "sync" && kind != "syncdir" {
		return fsys.ErrReadOnly
	}
	if d.fail != nil {
		return d.fail(Op{N: d.ops, Kind: kind, Name: name})
	}
	return nil
}

// Keep decides what survives a Crash beyond what was synced.
type Keep struct{ choose func(n int) int }

// Nothing keeps only what was synced: the worst disk that keeps its promises.
func Nothing() Keep { return Keep{func(int) int { return 0 }} }

// All keeps everything: the disk happened to have got it all.
func All() Keep { return Keep{func(n int) int { return n - 1 }} }

// Some keeps a random part, the same for the same seed.
func Some(seed uint64) Keep {
	r := rand.New(rand.NewPCG(seed, 1))
	return Keep{r.IntN}
}

// Crash is the machine losing power and starting again. Open files are dead.
func (d *Disk) Crash(k Keep) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.life++
	d.stopAt = 0
	var keep []*change
	for _, c := range d.pending {
		if k.choose(2) == 1 {
			keep = append(keep, c)
		}
	}
	d.commit(keep)
	d.pending = nil
	d.root.restore(k)
}

// commit makes changes durable, with the earlier ones to the same entries.
func (d *Disk) commit(chosen []*change) {
	take := map[*change]bool{}
	for _, c := range chosen {
		take[c] = true
	}
	for i := len(d.pending) - 1; i >= 0; i-- {
		if !take[d.pending[i]] {
			continue
		}
		for _, earlier := range d.pending[:i] {
			if earlier.overlaps(d.pending[i]) {
				take[earlier] = true
			}
		}
	}
	d.pending = slices.DeleteFunc(d.pending, func(c *change) bool {
		if take[c] {
			c.apply(func(n *node) map[string]*node { return n.kept })
		}
		return take[c]
	})
}

func (c *change) overlaps(o *change) bool {
	for _, a := range c.parts {
		for _, b := range o.parts {
			if a.dir == b.dir && a.name == b.name {
				return true
			}
		}
	}
	return false
}

func (c *change) apply(entries func(*node) map[string]*node) {
	for _, p := range c.parts {
		if p.child == nil {
			delete(entries(p.dir), p.name)
		} else {
			entries(p.dir)[p.name] = p.child
		}
	}
}

// change applies c now; the disk has it when a directory it touches is synced.
func (d *Disk) change(parts ...part) {
	c := &change{parts: parts}
	c.apply(func(n *node) map[string]*node { return n.entries })
	d.pending = append(d.pending, c)
}

// restore makes n what it is after a crash. Names are walked in order, so that
// a seed always means the same.
func (n *node) restore(k Keep) {
	if n.entries == nil {
		n.durable = survived(n.durable, n.data, k)
		n.data = slices.Clone(n.durable)
		return
	}
	n.entries = map[string]*node{}
	names := make([]string, 0, len(n.kept))
	for name, child := range n.kept {
		n.entries[name] = child
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n.entries[name].restore(k)
	}
}

// survived mixes what was synced with what was written since: the length is
// somewhere between the two, and each sector is the one or the other.
func survived(old, now []byte, k Keep) []byte {
	if string(old) == string(now) {
		return old
	}
	const sector = 64 // small, so that small tests see mixtures
	low, high := min(len(old), len(now)), max(len(old), len(now))
	size := low
	if high > low {
		size += k.choose(high - low + 1)
	}
	if len(now) < len(old) {
		size = high - (size - low) // keeping more means nearer to now
	}
	out := make([]byte, size) // what was never written reads as zeros
	copy(out, old)
	for at := 0; at < size; at += sector {
		if end := min(at+sector, size); k.choose(2) == 1 && at < len(now) {
			copy(out[at:end], now[at:min(end, len(now))])
		}
	}
	return out
}

// find walks to name. The caller holds mu.
func (d *Disk) find(name string) (*node, error) {
	n := d.root
	for _, elem := range split(name) {
		if n.entries == nil {
			return nil, fs.ErrNotExist
		}
		if n = n.entries[elem]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// parent finds the directory of name and name's last element.
func (d *Disk) parent(name string) (*node, string, error) {
	elems := split(name)
	if len(elems) == 0 {
		return nil, "", fs.ErrInvalid
	}
	dir, err := d.find(strings.Join(elems[:len(elems)-1], "/"))
	if err == nil && dir.entries == nil {
		err = fs.ErrNotExist
	}
	return dir, elems[len(elems)-1], err
}

func split(name string) []string {
	name = strings.TrimPrefix(name, filepath.VolumeName(name))
	clean := filepath.ToSlash(filepath.Clean("/" + name))
	return strings.FieldsFunc(clean, func(r rune) bool { return r == '/' })
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// writable says whether flag asks for writing.
func writable(flag int) bool { return flag&(os.O_WRONLY|os.O_RDWR) != 0 }

// String shows the tree, for failing tests.
func (d *Disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	d.root.show(&b, "")
	return b.String()
}

func (n *node) show(b *strings.Builder, path string) {
	if n.entries == nil {
		fmt.Fprintf(b, "%s %v %q synced %q\n", path, n.mode, n.data, n.durable)
		return
	}
	fmt.Fprintf(b, "%s/ %v\n", path, n.mode)
	names := make([]string, 0, len(n.entries))
	for name := range n.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n.entries[name].show(b, path+"/"+name)
	}
}
