package secfile

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32 // each adds in two steps: only the lock, which each has opened for itself, keeps them apart
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				unlock, err := Lock(file)
				if err != nil {
					t.Error(err)
					return
				}
				n := inside.Load()
				inside.Store(n + 1)
				unlock()
			}
		})
	}
	wg.Wait()
	if n := inside.Load(); n != 160 {
		t.Errorf("%d", n)
	}
	first, err := LockShared(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LockShared(file)
	if err != nil {
		t.Fatal(err)
	}
	first()
	if _, err := TryLock(file); !errors.Is(err, ErrLocked) {
		t.Errorf("locked while another shares it: %v", err)
	}
	second()
	last, err := TryLock(file)
	if err != nil {
		t.Fatal(err)
	}
	last()
	if _, err := LockShared(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("a shared lock in no folder")
	}
	if _, err := Lock(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("a lock in no folder")
	}
}
