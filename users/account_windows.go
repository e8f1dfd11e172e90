package users

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/windows"
)

// preparation makes the account ready for one session, under the lock.
type preparation struct {
	local    *Local
	calls    *calls
	wish     Wish
	standing standing
	record   record // as it is on disk
}

// renew gives the account a new password, and makes the account where there is
// none. The caller wipes the password.
func (p *preparation) renew() (pw []uint16, err error) {
	for _, s := range strengths() {
		pw = s.password()
		if err = p.give(pw); err == nil {
			return pw, nil
		}
		clear(pw)
		if !refusesPassword(err) {
			return nil, fmt.Errorf("give the account %s a new password: %w", Name, explained(err))
		}
	}
	return nil, fmt.Errorf("the password policy of this machine refuses even %d random characters of four classes for the account %s; %s: see Password Policy and password filters in secpol.msc, on a domain controller those of the domain and its fine-grained policies: %w",
		len(pw)-1, Name, p.calls.policy(), err)
}

func refusesPassword(err error) bool {
	return errors.Is(err, nerrPassword) || errors.Is(err, windows.ERROR_PASSWORD_RESTRICTION) || errors.Is(err, windows.ERROR_ILL_FORMED_PASSWORD)
}

func (p *preparation) give(pw []uint16) error {
	err := p.calls.setPassword(pw)
	if !errors.Is(err, nerrUserNotFound) {
		return err
	}
	if err = p.create(pw); errors.Is(err, nerrUserExists) {
		return p.calls.setPassword(pw) // somebody made it meanwhile: it is theirs
	}
	return err
}

// create makes the account. It can be used from then on, so that is written
// down before.
func (p *preparation) create(pw []uint16) error {
	if p.standing.controller {
		return p.missing()
	}
	before := p.record
	r := before
	r.Making, r.Enabled = true, true
	if err := p.save(r); err != nil {
		return err
	}
	err := p.calls.add(pw)
	if err != nil {
		if serr := p.save(before); serr != nil { // a later account is somebody else's
			err = fmt.Errorf("%w; %w", err, serr)
		}
	}
	return err
}

// missing says what an administrator of the domain has to do.
func (p *preparation) missing() error {
	where := "this machine is a domain controller"
	if p.standing.domain != "" {
		where += " of " + p.standing.domain
	}
	if p.standing.doubt != "" {
		where = "this machine may be a domain controller (" + p.standing.doubt + ")"
	}
	return fmt.Errorf("%s, where accounts are those of the whole domain and none is made for sessions: create the domain user %s by hand, put it into a group that has the right \"Allow log on locally\" on this controller and whatever else its sessions are to do (Administrators, or Domain Admins), and start the session again", where, Name)
}

// complete has an account of ours be whole, and any account be enabled.
func (p *preparation) complete() error {
	if p.record.Making {
		if err := p.join(); err != nil {
			return err
		}
	}
	if r := p.record; !p.standing.controller && !r.Enabled {
		r.Enabled = true
		if err := p.save(r); err != nil {
			return err
		}
	}
	if err := p.calls.setDisabled(false); err != nil {
		return fmt.Errorf("enable the account %s: %w", Name, explained(err))
	}
	return nil
}

// join puts the account that we made into its groups. Where an administrator
// took the one we made before out of the Administrators, the new one stays out.
func (p *preparation) join() error {
	r := p.record
	groups := p.wish.Groups
	if p.wish.Sudo && !r.Removed {
		all, err := p.calls.administrators()
		if err != nil {
			return err
		}
		groups = append([]string{all}, groups...)
		r.Joined = true
	}
	for _, g := range groups {
		if err := p.calls.join(g); err != nil {
			return fmt.Errorf("put the account %s into the group %s: %w", Name, g, explained(err))
		}
	}
	r.Making = false
	return p.save(r)
}

// remember takes down whether the account still is an administrator, if we made
// it one.
func (p *preparation) remember(t windows.Token) error {
	r := p.record
	if !r.Joined {
		return nil
	}
	in, err := p.calls.administers(t)
	if err != nil {
		return err
	}
	if r.Removed == !in {
		return nil
	}
	r.Removed = !in
	p.local.log.Info("the account's membership in the Administrators was changed by an administrator, and stays so", "account", Name, "member", in)
	return p.save(r)
}

func (p *preparation) save(r record) error {
	if err := p.local.save(r); err != nil {
		return err
	}
	p.record = r
	return nil
}

// explained adds the remedy to what a call of netapi32 answered.
func explained(err error) error {
	for code, remedy := range map[syscall.Errno]string{
		windows.ERROR_ACCESS_DENIED:      "the agent may not change accounts here; its service must run as LocalSystem, and on a domain controller LocalSystem must be allowed to change the account",
		nerrNotPrimary:                   "only a writable domain controller can change accounts; start the session at one, or use a command document with runAsElevated",
		nerrGroupNotFound:                "there is no such local group; see ssmagent.SessionUser.Groups of the configuration",
		windows.ERROR_NO_SUCH_ALIAS:      "there is no such local group; see ssmagent.SessionUser.Groups of the configuration",
		windows.ERROR_NO_SUCH_MEMBER:     "the account went away meanwhile; start the session again",
		windows.ERROR_INVALID_MEMBER:     "the account cannot be a member of it; see ssmagent.SessionUser.Groups of the configuration",
		windows.RPC_S_SERVER_UNAVAILABLE: "Windows' account service does not answer; see whether the service SamSs runs",
		nerrUserNotFound:                 "the account went away meanwhile; start the session again",
	} {
		if errors.Is(err, code) {
			return fmt.Errorf("%s: %w", remedy, err)
		}
	}
	return err
}
