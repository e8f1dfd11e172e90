package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"ssmagent/internal/environ"
	"ssmagent/internal/session"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/words"
	"ssmagent/users"
)

// account is who the session's program runs as, in the order of stock agents:
// the agent's own account where it is asked for, the one that the document or
// the service names, and ssm-user.
func (h *held) account(life context.Context, all Accounts, elevated bool) (users.Account, error) {
	n := h.req.Node
	switch {
	case elevated && !n.AsInvoker:
		return all.Self()
	case elevated || n.Container:
		return h.invoker(all)
	case bool(h.req.Inputs.RunAsEnabled) && h.PowerShell == "": // Windows has no RunAs: stock agents pass over it
		return h.runAs(life, all)
	case n.AsInvoker || !all.Switches():
		return h.invoker(all)
	}
	a, leave, err := all.Enter(life, n.User)
	h.leaveAccount = leave
	if errors.Is(err, users.ErrRoot) {
		err = fmt.Errorf("%w, which a session must not have; give it others", err)
	}
	return a, err
}

// invoker is who started the agent, with the home of then.
func (h *held) invoker(all Accounts) (users.Account, error) {
	a, err := all.Self()
	a.Home = cmp.Or(environ.Get(h.Env, "HOME"), a.Home)
	return a, err
}

// runAs is the account that the service or the document names. Its errors
// begin as stock agents' do.
func (h *held) runAs(life context.Context, all Accounts) (users.Account, error) {
	name := h.req.RunAsName()
	switch {
	case name == "":
		return users.Account{}, errors.New("please set the RunAs default user: runAsEnabled of the session document is true, but it has no runAsDefaultUser, and who started the session no tag SSMSessionRunAs")
	case h.req.Node.AsInvoker:
		return users.Account{}, fmt.Errorf("the agent must run as root to use RunAs, and without -root: sessions of this agent cannot be %s's; set runAsEnabled of the session document to false", name)
	case !all.Switches():
		return users.Account{}, fmt.Errorf("the agent must run as root to use RunAs: this one cannot start a session of %s", name)
	}
	a, err := all.Lookup(life, name)
	switch {
	case errors.Is(err, users.ErrUnknown):
		return a, fmt.Errorf("failed to start pty since RunAs user %s does not exist; make the account on the node, or name another one", name)
	case errors.Is(err, users.ErrRoot):
		return a, fmt.Errorf("invalid uid and gid: RunAs user %s has user or group id 0, which a session must not have; name another one, or use a command document with runAsElevated", name)
	}
	return a, err
}

// environment is the program's. The process that holds it has the same: the
// session's user can read it. A profile that was loaded brings its own.
func (h *held) environment(all Accounts, a users.Account) []string {
	inherited := environ.Inherited(h.Env)
	switch {
	case h.loaded.Env != nil:
		return h.loaded.Env
	case h.PowerShell != "":
		return inherited
	}
	env := inherited
	if h.req.Node.LoginShells {
		env = []string{"PATH=" + all.LoginPath(a), "USER=" + a.Name, "LOGNAME=" + a.Name, "SHELL=" + loginShell(a)}
	}
	env = environ.Set(env, "TERM", "xterm-256color")
	env = environ.Set(env, "LANG", cmp.Or(environ.Get(inherited, "LANG"), "C.UTF-8"))
	if a.Home != "" {
		env = environ.Set(env, "HOME", a.Home)
	}
	return env
}

// loginShell is the shell of an account; one that names none has this.
func loginShell(a users.Account) string { return cmp.Or(a.Shell, "/bin/sh") }

// program finds out what runs: a shell, the command in one, or, where the
// session's type or the container mode says so, the command's words alone.
func (h *held) program(a users.Account, command string) (err error) {
	switch {
	case h.PowerShell != "" && h.req.Inputs.SSMAgent.WindowsShell == mgs.ShellCmd:
		h.cmd(command)
		return nil
	case h.PowerShell != "":
		return h.powerShell(command)
	}
	shell := []string{"sh"}
	if h.req.Node.LoginShells {
		h.spec.Path = loginShell(a)
		shell = []string{"-" + filepath.Base(h.spec.Path)}
	}
	switch {
	case h.req.Type == mgs.SessionStandardStream:
		h.spec.Args = shell
	case h.req.Type == mgs.SessionInteractiveCommands && !h.req.Node.Container:
		h.spec.Args = append(shell, "-c", command)
	default:
		h.spec.Path = ""
		if h.spec.Args, err = words.Split(command); err != nil {
			return fmt.Errorf("the session's command: %w", err)
		}
	}
	if h.spec.Path == "" {
		h.spec.Path, err = h.file(h.spec.Args[0])
	}
	return err
}

// powerShell is program on Windows: PowerShell, with a command, or where the
// session's type says so with the command's words.
func (h *held) powerShell(command string) error {
	h.spec.Path, h.spec.Args = h.PowerShell, []string{"powershell.exe"}
	switch h.req.Type {
	case mgs.SessionStandardStream:
	case mgs.SessionInteractiveCommands:
		h.spec.Args = append(h.spec.Args, command)
	default:
		split, err := words.Split(command)
		if err != nil {
			return fmt.Errorf("the session's command: %w", err)
		}
		if split[0] == session.CopyName { // which is no business of a shell
			h.spec.Path, err = h.Program(split[0], h.spec.Env)
			h.spec.Args = split
			return err
		}
		h.spec.Args = append(h.spec.Args, split...)
	}
	return nil
}

// cmd is program on Windows where the document wants the older shell. That
// takes a command as it is, between the first quotation mark and the last, and
// with it nothing that the registry has it run before.
func (h *held) cmd(command string) {
	h.spec.Path, h.spec.Args = h.Cmd, []string{"cmd.exe"}
	if h.req.Type != mgs.SessionStandardStream {
		h.spec.CommandLine = `cmd.exe /d /s /c "` + command + `"`
	}
}

// keys is what the terminal is to get for what a client typed: consoles know no
// line feed, unless it was typed with its carriage return.
func (h *held) keys(typed []byte) []byte {
	if h.PowerShell == "" || bytes.Contains(typed, []byte("\r\n")) {
		return typed
	}
	return bytes.ReplaceAll(typed, []byte("\n"), []byte("\r"))
}

// profile is what is typed before anything else.
func (h *held) profile() string {
	p := h.req.Inputs.ShellProfile
	switch {
	case h.PowerShell != "" && p.Windows != "":
		return strings.ReplaceAll(p.Windows, "\n", "\r") + "\r"
	case h.PowerShell == "" && p.Linux != "":
		return p.Linux + "\n"
	}
	return ""
}

// file is the program of a command's first word.
func (h *held) file(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if filepath.Base(name) != name {
		return filepath.Join(h.spec.Dir, name), nil
	}
	return h.Program(name, h.spec.Env)
}
