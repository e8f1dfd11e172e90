package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
)

type record struct{ N int }

var table = Table[record]{Name: "records"}

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "store.db") }

func get(t *testing.T, db *DB, key string) (r record, ok bool) {
	t.Helper()
	if err := db.View(func(tx *Tx) (err error) { r, ok, err = table.Get(tx, key); return err }); err != nil {
		t.Fatal(err)
	}
	return r, ok
}

func put(key string, n int) func(*Tx) error {
	return func(tx *Tx) error { return table.Put(tx, key, record{n}) }
}

func TestRestartKeepsAll(t *testing.T) {
	t.Parallel()
	p := path(t)
	db, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := db.Update(put(fmt.Sprint(i), i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Update(func(tx *Tx) error { return table.Delete(tx, "3") }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(put("x", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Update after Close: %v, want ErrClosed", err)
	}
	db = open(t, p)
	for i := range 10 {
		r, ok := get(t, db, fmt.Sprint(i))
		if ok != (i != 3) || ok && r.N != i {
			t.Errorf("record %d: %v %v", i, r, ok)
		}
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	p := path(t)
	open(t, p)
	if _, err := Open(p); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
}

// TestGroupCommit holds the writer so that many writes queue up, and counts
// the transactions that they take together.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	db := open(t, path(t))
	const n = 100
	hold, entered := make(chan struct{}), make(chan struct{})
	var once, all sync.WaitGroup
	once.Go(func() {
		if err := db.Update(func(*Tx) error { close(entered); <-hold; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-entered
	before := lastTx(t, db)
	var ready sync.WaitGroup
	ready.Add(n)
	errs := make([]error, n)
	for i := range n {
		all.Go(func() {
			ready.Done()
			errs[i] = db.Update(func(tx *Tx) error {
				if i == 50 {
					return errors.New("refused")
				}
				if i == 51 {
					panic("bug")
				}
				return table.Put(tx, fmt.Sprintf("%03d", i), record{i})
			})
		})
	}
	ready.Wait()
	close(hold)
	all.Wait()
	once.Wait()
	for i, err := range errs {
		_, ok := get(t, db, fmt.Sprintf("%03d", i))
		switch i {
		case 50:
			if ok || err == nil || err.Error() != "refused" {
				t.Errorf("the refused write: %v %v", ok, err)
			}
		case 51:
			if ok || err == nil || !strings.Contains(err.Error(), "bug") {
				t.Errorf("the panicking write: %v %v", ok, err)
			}
		default:
			if !ok || err != nil {
				t.Errorf("write %d: %v %v", i, ok, err)
			}
		}
	}
	if used := lastTx(t, db) - before; used > n/2 {
		t.Errorf("%d writes took %d commits, want few", n, used)
	}
}

// lastTx is the number of the last committed transaction.
func lastTx(t *testing.T, db *DB) (id int) {
	t.Helper()
	if err := db.View(func(tx *Tx) error { id = tx.tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestConcurrentCounter(t *testing.T) {
	t.Parallel()
	db := open(t, path(t))
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := db.Update(func(tx *Tx) error {
					r, _, err := table.Get(tx, "n")
					if err != nil {
						return err
					}
					return table.Put(tx, "n", record{r.N + 1})
				})
				if err != nil {
					t.Error(err)
				}
				get(t, db, "n")
			}
		})
	}
	wg.Wait()
	if r, _ := get(t, db, "n"); r.N != workers*each {
		t.Errorf("counter is %d, want %d", r.N, workers*each)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	db := open(t, path(t))
	err := db.Update(func(tx *Tx) error {
		for i, k := range []string{"a/1", "a/2", "a/3", "b/1", "a"} {
			if err := table.Put(tx, k, record{i}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, prefix, after, want string }{
		{"all", "", "", "a a/1 a/2 a/3 b/1"},
		{"prefix", "a/", "", "a/1 a/2 a/3"},
		{"after a key", "a/", "a/1", "a/2 a/3"},
		{"after a key that is gone", "a/", "a/15", "a/2 a/3"},
		{"after the last", "a/", "a/3", ""},
		{"nothing", "c", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			err := db.View(func(tx *Tx) error {
				return table.Scan(tx, tc.prefix, tc.after, func(k string, _ record) (bool, error) { keys = append(keys, k); return true, nil })
			})
			if got := strings.Join(keys, " "); err != nil || got != tc.want {
				t.Errorf("%q %v, want %q", got, err, tc.want)
			}
		})
	}
	n := 0
	_ = db.View(func(tx *Tx) error {
		return table.Scan(tx, "", "", func(string, record) (bool, error) { n++; return n < 2, nil })
	})
	if n != 2 {
		t.Errorf("scan went on to %d records after it was told to stop", n)
	}
}

func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	db := open(t, path(t))
	err := db.Update(func(tx *Tx) error {
		b, err := table.bucket(tx)
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("{"))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *Tx) error { _, _, err := table.Get(tx, "k"); return err })
	if err == nil || !strings.Contains(err.Error(), "records/k") {
		t.Errorf("damaged record: %v, want an error that names it", err)
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	p := path(t)
	db, err := Open(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(put("k", 7)), db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(p, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	double := func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(table.Name))
		var r record
		if err := json.Unmarshal(bucket.Get([]byte("k")), &r); err != nil {
			return err
		}
		raw, _ := json.Marshal(record{2 * r.N})
		return bucket.Put([]byte("k"), raw)
	}
	broken := func(tx *bolt.Tx) error { return errors.Join(double(tx), errors.New("no")) }
	steps := append(append([]func(*bolt.Tx) error{}, migrations...), double)
	for _, tc := range []struct {
		name  string
		steps []func(*bolt.Tx) error
		want  int
		fails string
	}{
		{"one step more", steps, 14, ""},
		{"the same again does nothing", steps, 14, ""},
		{"a step that fails changes nothing", append(steps[:len(steps):len(steps)], broken), 14, "migrate schema"},
		{"an older program refuses", migrations, 14, "newer"},
	} {
		err := migrate(b, tc.steps)
		if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.fails)
		}
		_ = b.View(func(tx *bolt.Tx) error {
			if r, _, _ := table.Get(&Tx{tx}, "k"); r.N != tc.want {
				t.Errorf("%s: record is %d, want %d", tc.name, r.N, tc.want)
			}
			return nil
		})
	}
}
