package secfile

import (
	"errors"
	"fmt"

	"github.com/gofrs/flock"
)

// ErrLocked says that another holds the lock.
var ErrLocked = errors.New("it is locked by another")

// TryLock is Lock that does not wait: ErrLocked while another holds it.
func TryLock(file string) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err == nil && !ok {
		err = ErrLocked
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { _ = l.Close() }, nil
}

// LockShared is Lock that many can hold at a time, but none while one has it by
// Lock or TryLock.
func LockShared(file string) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	if err := l.RLock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { _ = l.Close() }, nil
}

// Lock keeps the other processes that lock the same file waiting until unlock
// is called, or until this process ends. The file is made when it is not
// there. Who holds such a lock must not hold it long.
func Lock(file string) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	if err := l.Lock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { _ = l.Close() }, nil
}
