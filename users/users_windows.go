package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"golang.org/x/sys/windows"
)

// system is where Windows has its accounts. Tests put others there: what they
// are put over records what it is told.
type system struct {
	netapi *windows.LazyDLL
	advapi *windows.LazyDLL // log-ons and tokens
	// productKey has ProductType, and directoryService is Active Directory's:
	// they tell domain controllers from others.
	productKey, directoryService string
}

func thisSystem() system {
	return system{
		netapi: windows.NewLazySystemDLL("netapi32.dll"), advapi: windows.NewLazySystemDLL(logonLibrary),
		productKey: `SYSTEM\CurrentControlSet\Control\ProductOptions`, directoryService: "NTDS",
	}
}

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

func (a Account) enters(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && fi.IsDir()
}
