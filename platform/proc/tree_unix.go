//go:build unix

package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// gone says that err means that a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// running says whether id runs: there, the same one, and no zombie.
func running(id ID) bool {
	st, err := readStat(id.PID)
	return err == nil && st.start == id.Start && !st.dead()
}

func self() (ID, error) {
	st, err := readStat(os.Getpid())
	return st.id(), err
}

func alive(all []stat) []stat { return slices.DeleteFunc(all, stat.dead) }

func descendants() ([]ID, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var ids []ID
	for _, s := range alive(newTree(all).below(os.Getpid(), keeper(nil))) {
		ids = append(ids, s.id())
	}
	return ids, nil
}

func killDescendants(ctx context.Context, keep []ID) error {
	return killRounds(ctx, func() ([]stat, error) {
		all, err := processes()
		if err != nil {
			return nil, err
		}
		return alive(newTree(all).below(os.Getpid(), keeper(keep))), nil
	})
}

func killMarked(ctx context.Context, name, value string) error {
	entry := name + "=" + value
	return killRounds(ctx, func() ([]stat, error) {
		all, err := processes()
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(alive(all), func(s stat) bool {
			if s.pid == os.Getpid() {
				return true
			}
			block, err := environment(s.pid)
			return err != nil || !marked(block, entry)
		}), nil
	})
}

// killRounds ends everything that find finds, until it finds nothing more.
// All are stopped first, so that none forks away while the others die.
func killRounds(ctx context.Context, find func() ([]stat, error)) error {
	for {
		victims, err := freeze(find)
		if err != nil || len(victims) == 0 {
			return errors.Join(err, reapOrphans())
		}
		if err := killAll(ctx, victims); err != nil {
			return err
		}
	}
}

// freeze stops what find finds until no new one turns up.
func freeze(find func() ([]stat, error)) ([]*process, error) {
	const rounds = 20 // what forks faster than that is met again in the next round of kills
	stopped := map[ID]*process{}
	for range rounds {
		found, err := find()
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, s := range found {
			if stopped[s.id()] != nil {
				continue
			}
			p, err := find1(s.id())
			if err != nil {
				continue // ended by itself
			}
			fresh = true
			stopped[s.id()] = p
			_ = p.signal(unix.SIGSTOP) // the kill will tell if we may not
		}
		if !fresh {
			break
		}
	}
	var all []*process
	for _, p := range stopped {
		all = append(all, p)
	}
	return all, nil
}

func find1(id ID) (*process, error) {
	p, err := find(id)
	if err != nil {
		return nil, err
	}
	return p.(*process), nil
}

func killAll(ctx context.Context, victims []*process) error {
	var errs []error
	for _, p := range victims {
		errs = append(errs, p.Kill())
	}
	if err := errors.Join(errs...); err != nil {
		for _, p := range victims {
			p.hold.close()
		}
		return err
	}
	for _, p := range victims {
		if _, err := p.Wait(ctx); err != nil {
			return fmt.Errorf("process %d does not end after SIGKILL: %w", p.id.PID, err)
		}
	}
	return nil
}
