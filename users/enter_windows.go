package users

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// sessionsFile is locked by every session that holds the account, each with a
// share. The system takes the share of a process that is killed.
const sessionsFile = Name + ".sessions"

// attempts is how often a password is made anew that somebody else replaced
// before it was used: another controller of the same domain.
const attempts = 3

func (l *Local) enter(ctx context.Context, w Wish) (Account, func() error, error) {
	unlock, err := l.lock()
	if err != nil {
		return Account{}, nil, err
	}
	defer unlock()
	share, err := secfile.LockShared(filepath.Join(l.dir, sessionsFile))
	if err != nil {
		return Account{}, nil, fmt.Errorf("count the sessions of the account %s: %w", Name, err)
	}
	token, err := l.logOn(ctx, w)
	if err != nil {
		share()
		if rerr := l.retire(); rerr != nil {
			err = fmt.Errorf("%w; %w", err, rerr)
		}
		return Account{}, nil, err
	}
	leave := sync.OnceValue(func() error { return errors.Join(closeToken(token), l.leave(share)) })
	return Account{Name: Name, Principal: proc.Principal{Token: uintptr(token)}}, leave, nil
}

func (l *Local) leave(share func()) error {
	unlock, err := l.lock()
	share()
	if err != nil {
		return err
	}
	defer unlock()
	return l.retire()
}

func (l *Local) settle(context.Context) error {
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return l.retire()
}

// retire disables the account when no session holds it, under the lock. What
// was not enabled for a session is not ours to disable.
func (l *Local) retire() error {
	alone, err := secfile.TryLock(filepath.Join(l.dir, sessionsFile))
	if errors.Is(err, secfile.ErrLocked) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("count the sessions of the account %s: %w", Name, err)
	}
	defer alone()
	r, err := l.load()
	if err == nil && !r.Enabled {
		return nil
	}
	c, err := l.sys.load()
	if err != nil {
		return err
	}
	if !l.standing(c).controller {
		if err := c.setDisabled(true); err != nil && !errors.Is(err, nerrUserNotFound) {
			return fmt.Errorf("disable the account %s, which no session needs any more: %w; disable it by hand (net user %s /active:no)", Name, explained(err), Name)
		}
	}
	r.Enabled = false
	return l.save(r)
}

// logOn makes the account ready and logs it on. Nobody else has its password,
// which is forgotten here.
func (l *Local) logOn(ctx context.Context, w Wish) (token windows.Token, err error) {
	c, err := l.sys.load()
	if err != nil {
		return 0, err
	}
	p := &preparation{local: l, calls: c, wish: w, standing: l.standing(c)}
	if p.standing.doubt != "" {
		l.log.Warn("whether this machine is a domain controller is not clear", "taken for one", p.standing.controller, "because", p.standing.doubt)
	}
	if p.record, err = l.load(); err != nil { // whoever broke the file must not keep people out
		l.log.Error("begin anew what is remembered of the account", "error", err)
		p.record = record{}
	}
	for n := 1; ; n++ {
		token, err = p.attempt()
		if !errors.Is(err, windows.ERROR_LOGON_FAILURE) || n == attempts || ctx.Err() != nil {
			break
		}
		l.log.Info("the account's password was changed while it was being used, it is set again", "account", Name, "attempt", n)
	}
	if err != nil {
		return 0, err
	}
	if err := p.remember(token); err != nil {
		return 0, errors.Join(err, closeToken(token))
	}
	return token, nil
}

func (p *preparation) attempt() (windows.Token, error) {
	pw, err := p.renew()
	if err != nil {
		return 0, err
	}
	defer clear(pw)
	if err := p.complete(); err != nil {
		return 0, err
	}
	domain := "." // this machine's own accounts
	if p.standing.controller && p.standing.domain != "" {
		domain = p.standing.domain
	}
	return p.calls.logOn(domain, pw)
}
