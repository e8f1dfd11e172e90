package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
)

// system needs no words here yet.
type system struct{}

func thisSystem() system { return system{} }

// switches: starting a process as another takes a token of its account, which
// this version does not ask for.
func switches() bool { return false }

func (l *Local) self() (Account, error) {
	u, err := user.Current()
	if err != nil {
		return Account{}, fmt.Errorf("find out who we are: %w", err)
	}
	return Account{Name: u.Username, Home: u.HomeDir}, nil
}

func (l *Local) loginPath(Account) string { return os.Getenv("PATH") }

func (l *Local) lookup(_ context.Context, name string) (Account, error) {
	if !ValidName(name) {
		return Account{}, fmt.Errorf("%.64q: %w", name, ErrUnknown)
	}
	u, err := user.Lookup(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		return Account{}, fmt.Errorf("look up the account %s: %w", name, ErrUnknown)
	}
	if err != nil {
		return Account{}, fmt.Errorf("look up the account %s: %w", name, err)
	}
	return Account{Name: u.Username, Home: u.HomeDir}, nil
}

func (l *Local) enter(context.Context, Wish) (Account, func() error, error) {
	return Account{}, nil, fmt.Errorf("make the account %s: making accounts on Windows is not there yet; sessions run as whoever started the agent: %w", Name, errors.ErrUnsupported)
}

func (l *Local) settle(context.Context) error { return nil }

func (a Account) enters(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && fi.IsDir()
}
