package secfile

import (
	"path/filepath"
	"sync"
	"testing"
)

func TestLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lock")
	inside := 0 // guarded by the lock alone: each has opened the file for itself
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				unlock, err := Lock(file)
				if err != nil {
					t.Error(err)
					return
				}
				inside++
				unlock()
			}
		})
	}
	wg.Wait()
	if inside != 160 {
		t.Errorf("%d", inside)
	}
	if _, err := Lock(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("a lock in no folder")
	}
}
