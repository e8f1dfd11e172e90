package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ssmagent/internal/step/tool"
)

type gitInfo struct {
	Repository    string `json:"repository"`
	PrivateSSHKey string `json:"privateSSHKey"`
	SkipHostKeys  bool   `json:"skipHostKeyChecking"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	GetOptions    string `json:"getOptions"`
}

// git clones a repository with the system's git and puts what it holds, the
// repository's own directory too, into the destination.
func (p Plugin) git(ctx context.Context, i gitInfo, to *destination) error {
	options, err := parseOptions(i.GetOptions)
	if err != nil {
		return err
	}
	g := clone{Plugin: p, info: i, options: options, to: to}
	if err := g.address(); err != nil {
		return err
	}
	if err := g.secrets(ctx); err != nil {
		return err
	}
	if g.program, err = p.FindProgram("git"); err != nil {
		return fmt.Errorf("%w; install git to use Git sources", err)
	}
	if err := to.directory(); err != nil {
		return err
	}
	name := "tempCloneDir" + rand.Text()
	if err := to.root.Mkdir(name, dirMode); err != nil {
		return fmt.Errorf("make a directory for the clone: %w%s", err, remedy(err))
	}
	defer func() { _ = to.root.RemoveAll(name) }()
	g.dir = filepath.Join(to.root.Name(), name)
	if err := g.run(ctx); err != nil {
		return err
	}
	if err := to.measure(filepath.Join(name, "tree")); err != nil {
		return err
	}
	return to.move(filepath.Join(name, "tree"), ".", true)
}

// clone is one run of git.
type clone struct {
	Plugin

	info     gitInfo
	options  options
	to       *destination
	url      string // what git is given, without a password
	web      bool   // by http or https
	ssh      bool
	user     string
	password string
	key      string
	program  string
	dir      string // absolute: our own directory in the destination
}

// address checks the repository's address and which way it goes.
func (g *clone) address() error {
	a := strings.TrimSpace(g.info.Repository)
	switch {
	case a == "":
		return errors.New("sourceInfo has no repository")
	case strings.HasPrefix(a, "-") || strings.ContainsAny(a, "\x00\r\n\t ") || strings.Contains(a, "::"):
		return errors.New("repository is not the address of a repository")
	}
	g.url = a
	host, path, scp := strings.Cut(a, ":")
	if scp && !strings.Contains(host, "/") && !strings.HasPrefix(path, "//") {
		// user@host:path, as ssh has it
		if g.ssh = true; !strings.Contains(host, "@") {
			g.url = "git@" + a
		}
		return nil
	}
	u, err := url.Parse(a)
	if err != nil {
		return errors.New("repository is not the address of a repository")
	}
	switch u.Scheme {
	case "http", "https":
		g.web = true
		if _, has := u.User.Password(); has {
			return errors.New("repository holds a password; put it into password, as {{ssm-secure:name}}")
		}
	case "ssh":
		if g.ssh = true; u.User == nil {
			u.User = url.User("git")
		}
	case "git", "file":
	default:
		return fmt.Errorf("repository has the scheme %.20q; use https, http, ssh, git or file", u.Scheme)
	}
	g.url = u.String()
	return nil
}

// secrets fetches what the inputs refer to.
func (g *clone) secrets(ctx context.Context) error {
	i := g.info
	switch {
	case g.web && i.PrivateSSHKey != "":
		return errors.New("privateSSHKey does not go with a repository at http or https; use username and password")
	case !g.web && (i.Username != "" || i.Password != ""):
		return errors.New("username and password go with a repository at http or https only; use privateSSHKey")
	}
	for _, s := range []struct {
		name, given string
		to          *string
	}{{"username", i.Username, &g.user}, {"password", i.Password, &g.password}, {"privateSSHKey", i.PrivateSSHKey, &g.key}} {
		var err error
		if *s.to, err = g.reveal(ctx, s.name, s.given); err != nil {
			return err
		}
		if s.name != "privateSSHKey" && strings.ContainsAny(*s.to, "\r\n\x00") {
			return fmt.Errorf("%s holds a line break, which it must not", s.name)
		}
	}
	return nil
}

// run clones and checks out what was chosen.
func (g *clone) run(ctx context.Context) error {
	env, err := g.environment()
	if err != nil {
		return err
	}
	git := func(args ...string) error {
		r, err := tool.Run(ctx, tool.Spec{Path: g.program, Args: append([]string{"git"}, args...), Env: env, Dir: g.dir, Start: g.Start})
		if err == nil && r.State.Code != 0 {
			err = fmt.Errorf("git %s: exit code %d: %s", args[0], r.State.Code, g.clean(r.Stderr))
		}
		return err
	}
	args := []string{"clone", "--quiet"}
	branch := g.options.branch
	for _, p := range []string{"refs/heads/", "refs/tags/"} {
		branch = strings.TrimPrefix(branch, p)
	}
	if branch != "" {
		args = append(args, "--branch", branch)
	}
	if g.options.commit != "" {
		args = append(args, "--no-checkout")
	}
	if err := git(append(args, "--", g.url, "tree")...); err != nil {
		return err
	}
	if g.options.commit == "" {
		return nil
	}
	g.dir = filepath.Join(g.dir, "tree")
	return git("checkout", "--quiet", "--detach", g.options.commit)
}

// clean is the end of what git complains, without secrets.
func (g *clone) clean(s string) string {
	for _, secret := range []string{g.password, g.key} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return clip(strings.Join(lines[max(0, len(lines)-3):], "; "))
}

// environment gives git its settings and secrets: no prompt, no other
// protocol, no hook, and the password to the repository's own host only.
func (g *clone) environment() ([]string, error) {
	settings := [][2]string{
		{"core.hooksPath", os.DevNull}, {"init.templateDir", ""}, {"advice.detachedHead", "false"}, {"credential.helper", ""},
		{"submodule.recurse", "false"}, {"core.fsmonitor", "false"},
	}
	env := append([]string{}, g.Env...)
	env = append(env, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_ALLOW_PROTOCOL=http:https:ssh:git:file", "LC_ALL=C")
	if g.user != "" && g.password != "" {
		u, err := url.Parse(g.url)
		if err != nil {
			return nil, err
		}
		// A redirect to another host finds no helper.
		settings = append(settings, [2]string{"credential." + u.Scheme + "://" + u.Host + ".helper",
			`!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$SSMAGENT_GIT_USERNAME" "$SSMAGENT_GIT_PASSWORD"; }; f`})
		env = append(env, "SSMAGENT_GIT_USERNAME="+g.user, "SSMAGENT_GIT_PASSWORD="+g.password)
	}
	if g.ssh {
		line, err := g.sshCommand()
		if err != nil {
			return nil, err
		}
		env = append(env, "GIT_SSH_COMMAND="+line, "GIT_SSH_VARIANT=ssh")
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s[0], "GIT_CONFIG_VALUE_"+n+"="+s[1])
	}
	return env, nil
}

// sshCommand is the line that git runs ssh by. The key lies beside the clone
// and goes with it.
func (g *clone) sshCommand() (string, error) {
	line := "ssh -o BatchMode=yes"
	if g.info.SkipHostKeys {
		line += " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR"
	} else {
		line += " -o StrictHostKeyChecking=yes"
	}
	if g.key == "" {
		return line, nil
	}
	file := filepath.Join(g.dir, "key")
	text := strings.TrimSpace(strings.ReplaceAll(g.key, "\r\n", "\n")) + "\n"
	rel, err := filepath.Rel(g.to.root.Name(), file)
	if err == nil {
		err = g.to.root.WriteFile(rel, []byte(text), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("keep the private key: %w%s", err, remedy(err))
	}
	return line + " -o IdentitiesOnly=yes -i '" + strings.ReplaceAll(file, "'", `'\''`) + "'", nil
}
