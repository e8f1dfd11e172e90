//go:build unix

package users

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// enter has nothing to give back: no session holds the account.
func (l *Local) enter(ctx context.Context, w Wish) (Account, func() error, error) {
	a, err := l.ensure(ctx, w)
	return a, func() error { return nil }, err
}

func (l *Local) settle(context.Context) error { return nil }

func (l *Local) ensure(ctx context.Context, w Wish) (Account, error) {
	// The account before what is remembered of it: see record.Making.
	a, err := l.lookup(ctx, Name)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return Account{}, err
	}
	if err == nil {
		if r, rerr := l.load(); rerr != nil || l.settled(r, w) {
			return a, nil // whoever broke the file must not keep people out
		}
	}
	unlock, err := l.lock()
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	return l.makeWhole(ctx, w)
}

// settled says whether nothing is left to be made for an account that is there.
func (l *Local) settled(r record, w Wish) bool {
	return !r.Making && (!r.WithoutSudo || !w.Sudo || l.tool("visudo") == "")
}

// makeWhole is ensure under the lock: others may have been faster.
func (l *Local) makeWhole(ctx context.Context, w Wish) (Account, error) {
	before, err := l.load()
	if err != nil {
		return Account{}, err
	}
	a, err := l.lookup(ctx, Name)
	absent := errors.Is(err, ErrUnknown)
	switch {
	case err != nil && !absent:
		return Account{}, err
	case !absent && l.settled(before, w):
		return a, nil
	}
	r := before
	r.Making = true
	if err := l.save(r); err != nil {
		return Account{}, err
	}
	if absent {
		err = l.add(ctx, w)
	} else {
		err = l.complete(ctx, w)
	}
	if err == nil {
		a, err = l.lookup(ctx, Name)
	}
	if err != nil {
		if _, lerr := l.lookup(ctx, Name); absent && errors.Is(lerr, ErrUnknown) {
			if serr := l.save(before); serr != nil { // nothing was made; a later account is somebody else's
				err = fmt.Errorf("%w; %w", err, serr)
			}
		}
		return Account{}, fmt.Errorf("make the account %s: %w", Name, err)
	}
	if err := l.settleHome(a); err != nil {
		return Account{}, fmt.Errorf("make the account %s: %w", Name, err)
	}
	if err := l.settleSudo(ctx, w, &r); err != nil {
		return Account{}, fmt.Errorf("let the account %s use sudo: %w", Name, err)
	}
	r.Making = false
	return a, l.save(r)
}

// add makes the account with the system's own tools.
func (l *Local) add(ctx context.Context, w Wish) error {
	if readOnly(l.sys.etc) {
		return fmt.Errorf("%s is on a file system that is read-only; %s", l.sys.etc, instead)
	}
	m := l.maker(ctx)
	if m == nil {
		return fmt.Errorf("%s is in %s; %s", noMaker, l.sys.path, instead)
	}
	kept, err := l.keepHome(ctx, w)
	if err != nil {
		return err
	}
	own, err := l.ownGroup(ctx, m, w)
	if err == nil {
		err = m.add(ctx, kept, own)
	}
	return l.explain(err, w)
}

// complete makes good what a process that was killed in add left out.
func (l *Local) complete(ctx context.Context, w Wish) error {
	m := l.maker(ctx)
	if m == nil {
		return nil
	}
	return l.explain(m.complete(ctx, w.Groups), w)
}

// explain adds the remedy to what a tool said.
func (l *Local) explain(err error, w Wish) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	switch {
	case strings.Contains(said, "No space left"), full(l.sys.etc), full(filepath.Dir(l.homeOf(w))):
		return fmt.Errorf("the disk that holds %s or %s is full, free some space there: %w", l.sys.etc, filepath.Dir(l.homeOf(w)), err)
	case strings.Contains(said, "no more available"), strings.Contains(said, "ids left"):
		return fmt.Errorf("no user or group id is left in the range of %s, widen it there or set ssmagent.SessionUser.UID and .GID of the configuration: %w", filepath.Join(l.sys.etc, "login.defs"), err)
	case strings.Contains(said, "cannot lock"):
		return fmt.Errorf("another program has the account files locked, try again in a moment: %w", err)
	case len(w.Groups)+w.UID+w.GID+len(w.Home)+len(w.Shell) > 0:
		return fmt.Errorf("see ssmagent.SessionUser of the configuration: %w", err)
	}
	return fmt.Errorf("%s: %w", instead, err)
}
