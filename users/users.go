// Package users is the seam for the accounts of this machine: finding one where
// the system keeps it, and making the one that sessions run as.
package users

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"unicode"

	"ssmagent/internal/fsys"
	"ssmagent/platform/proc"
)

// Name is the account of sessions that name no other.
const Name = "ssm-user"

var (
	// ErrUnknown says that no name service of this machine has the account.
	ErrUnknown = errors.New("no such account")
	// ErrRoot says that an account has root's user or group id.
	ErrRoot = errors.New("it has user or group id 0")
)

// Account is one that processes can run as.
type Account struct {
	Name      string
	Principal proc.Principal // zero: our own
	Home      string         // may not exist; empty when it is not known
	Shell     string         // empty when the account names none
}

// Wish is how the account of sessions is to be made. It counts when there is
// none; one that is there is taken as it is.
type Wish struct {
	UID, GID int  `json:",omitempty"` // 0: the system chooses
	System   bool `json:",omitempty"` // ids from the range of system accounts
	// Home and Shell are absolute; empty: the system's defaults.
	Home   string   `json:",omitempty"`
	Shell  string   `json:",omitempty"`
	Groups []string `json:",omitempty"` // which it is a member of besides its own
	Sudo   bool     `json:",omitempty"` // it may do everything, without a password
}

// Local has the accounts of this machine. Its methods are safe together, also
// with those of other processes.
type Local struct {
	fs  fsys.FS
	dir string
	log *slog.Logger
	sys system
}

// New returns the accounts of this machine. dir is the agent's data directory:
// what was made is remembered there, and one process makes something at a time.
func New(fs fsys.FS, dir string, log *slog.Logger) *Local {
	return &Local{fs: fs, dir: dir, log: log, sys: thisSystem()}
}

// Switches says whether we may run processes as others than ourselves.
func (l *Local) Switches() bool { return switches() }

// Self is who we are. Its Principal is zero.
func (l *Local) Self() (Account, error) { return l.self() }

// LoginPath is PATH of the account's login shells.
func (l *Local) LoginPath(a Account) string { return l.loginPath(a) }

// Lookup finds an account by its name, in files and network directories. The
// error wraps ErrUnknown or ErrRoot when it is one of these.
func (l *Local) Lookup(ctx context.Context, name string) (Account, error) {
	return l.lookup(ctx, name)
}

// Enter finds the account Name for a session that begins, and makes it as w
// says when there is none: with its home, without a password that anybody
// knows. It finishes what a killed process left half done, and touches nothing
// else that is there: what an administrator changed or removed stays so.
//
// leave is called once, when the session's last process has ended. On Windows
// the account's token is valid until then, and when no session is left on this
// machine the account is disabled. Without an error leave is never nil.
func (l *Local) Enter(ctx context.Context, w Wish) (a Account, leave func() error, err error) {
	return l.enter(ctx, w)
}

// Settle does what the leave of killed processes would have done, where no
// session is left; it is for the agent's start and for sessions that were lost.
func (l *Local) Settle(ctx context.Context) error { return l.settle(ctx) }

// StartDir is where processes of the account begin: at home, or at the root
// where it has none that it may enter.
func (a Account) StartDir() string {
	if filepath.IsAbs(a.Home) && a.enters(a.Home) {
		return a.Home
	}
	return string(filepath.Separator)
}

// maxName is longer than any that systems and directories have.
const maxName = 256

// ValidName says whether an account may be called name. Tools get it as an
// argument: it is no option, no number with a sign, and nothing to a shell.
// Windows domains put a backslash into it, mail addresses an at sign.
func ValidName(name string) bool {
	for i, r := range name {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_'
		if !letter && (i == 0 || !strings.ContainsRune(`.-@\+`, r)) || r == unicode.ReplacementChar {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}
