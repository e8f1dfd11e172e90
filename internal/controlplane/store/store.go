// Package store keeps the control plane's records in one bbolt file: typed
// tables, a schema version with migrations, and a group commit, so that many
// requests at once share one fsync and none is answered before it is durable.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrLocked says that another process has the data directory open.
var ErrLocked = errors.New("the store is in use by another ssm-local")

// DB is an open store. Safe for concurrent use.
type DB struct {
	bolt   *bolt.DB
	writes chan *write
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once
	closed error
}

type write struct {
	fn  func(*Tx) error
	err error
	end chan struct{}
}

// Tx is a transaction: a view, or a share of a group commit.
type Tx struct{ tx *bolt.Tx }

// Open opens or makes the store at path (mode 0600) and migrates it to the
// current schema. A store of a newer schema is refused.
func Open(path string) (*DB, error) {
	b, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := migrate(b, migrations); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), b.Close())
	}
	db := &DB{bolt: b, writes: make(chan *write), quit: make(chan struct{}), done: make(chan struct{})}
	go db.writer()
	return db, nil
}

// Close waits for the writes under way and closes the file. A second Close
// returns what the first did.
func (db *DB) Close() error {
	db.once.Do(func() {
		close(db.quit)
		<-db.done
		db.closed = db.bolt.Close()
	})
	return db.closed
}

// ErrClosed is returned by Update after Close.
var ErrClosed = errors.New("the store is closed")

// Update runs fn in a write transaction and returns once it is durable, or
// with fn's error when nothing of it was kept. fn may be run more than once
// (when another share of the same commit fails), so its only effects must be
// on tx and on variables that it assigns anew each time.
func (db *DB) Update(fn func(*Tx) error) error {
	w := &write{fn: fn, end: make(chan struct{})}
	select {
	case db.writes <- w:
	case <-db.quit:
		return ErrClosed
	}
	<-w.end
	return w.err
}

// View runs fn in a read transaction.
func (db *DB) View(fn func(*Tx) error) error {
	return db.bolt.View(func(tx *bolt.Tx) error { return fn(&Tx{tx}) })
}

// writer commits what has queued up while the last commit was under way.
func (db *DB) writer() {
	defer close(db.done)
	for {
		var group []*write
		select {
		case w := <-db.writes:
			group = append(group, w)
		case <-db.quit:
			return
		}
		for more := true; more && len(group) < 256; {
			select {
			case w := <-db.writes:
				group = append(group, w)
			default:
				more = false
			}
		}
		db.commit(group)
	}
}

// commit runs group in one transaction; a share that fails is taken out and
// answered, and the rest starts again.
func (db *DB) commit(group []*write) {
	for len(group) > 0 {
		failed := -1
		err := db.bolt.Update(func(tx *bolt.Tx) error {
			for i, w := range group {
				if w.err = w.run(tx); w.err != nil {
					failed = i
					return w.err
				}
			}
			return nil
		})
		if failed >= 0 {
			close(group[failed].end)
			group = append(group[:failed], group[failed+1:]...)
			continue
		}
		for _, w := range group {
			w.err = err
			close(w.end)
		}
		return
	}
}

// run calls the share's function. Its panic must not end the writer, which
// works for all: it becomes an error.
func (w *write) run(tx *bolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return w.fn(&Tx{tx})
}

// Table is a bucket of records of one type, stored as JSON under ordered keys.
type Table[T any] struct{ Name string }

func (t Table[T]) bucket(tx *Tx) (*bolt.Bucket, error) {
	b := tx.tx.Bucket([]byte(t.Name))
	if b == nil && tx.tx.Writable() {
		return tx.tx.CreateBucketIfNotExists([]byte(t.Name))
	}
	return b, nil
}

// Get returns the record at key and whether there is one.
func (t Table[T]) Get(tx *Tx, key string) (v T, ok bool, err error) {
	b, err := t.bucket(tx)
	if err != nil || b == nil {
		return v, false, err
	}
	raw := b.Get([]byte(key))
	if raw == nil {
		return v, false, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, false, fmt.Errorf("store: %s/%s: %w", t.Name, key, err)
	}
	return v, true, nil
}

// Put sets the record at key.
func (t Table[T]) Put(tx *Tx, key string, v T) error {
	b, err := t.bucket(tx)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: %s/%s: %w", t.Name, key, err)
	}
	return b.Put([]byte(key), raw)
}

// Delete removes the record at key, if any.
func (t Table[T]) Delete(tx *Tx, key string) error {
	b, err := t.bucket(tx)
	if err != nil || b == nil {
		return err
	}
	return b.Delete([]byte(key))
}

// Scan calls fn for the records whose keys have the prefix and come after the
// key after (exclusive; "" starts at the first), in ascending order, until fn
// returns false or an error. fn must not change the table.
func (t Table[T]) Scan(tx *Tx, prefix, after string, fn func(key string, v T) (bool, error)) error {
	b, err := t.bucket(tx)
	if err != nil || b == nil {
		return err
	}
	c := b.Cursor()
	var k, raw []byte
	if after == "" {
		k, raw = c.Seek([]byte(prefix))
	} else if k, raw = c.Seek([]byte(after)); string(k) == after {
		k, raw = c.Next()
	}
	for ; k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == prefix; k, raw = c.Next() {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("store: %s/%s: %w", t.Name, k, err)
		}
		if more, err := fn(string(k), v); err != nil || !more {
			return err
		}
	}
	return nil
}

// ScanDown is Scan from the end: it calls fn for the records whose keys have
// the prefix and come before the key before (exclusive), in descending order.
// before must be greater than the prefix.
func (t Table[T]) ScanDown(tx *Tx, prefix, before string, fn func(key string, v T) (bool, error)) error {
	b, err := t.bucket(tx)
	if err != nil || b == nil {
		return err
	}
	c := b.Cursor()
	k, raw := c.Seek([]byte(before))
	if k == nil {
		k, raw = c.Last()
	}
	for ; k != nil && string(k) >= prefix; k, raw = c.Prev() {
		if string(k) >= before {
			continue
		}
		if len(k) < len(prefix) || string(k[:len(prefix)]) != prefix {
			break
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("store: %s/%s: %w", t.Name, k, err)
		}
		if more, err := fn(string(k), v); err != nil || !more {
			return err
		}
	}
	return nil
}
