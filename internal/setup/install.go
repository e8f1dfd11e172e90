package setup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"ssmagent/internal/wire/doc"
)

// tarball is the kind of package that its own script installs, msi the one that
// decides itself what it replaces.
const (
	tarball = ".tar.gz"
	msi     = ".msi"
)

// restartPending is what the Windows Installer ends with when it has installed
// and wants the machine to be restarted.
const restartPending = 3010

// manager is the system's own tool for one kind of package.
type manager struct {
	ext     string
	tool    string   // that has to be here
	have    []string // prints the version that is installed, or fails
	content []string // prints name, architecture and version of the file that follows; nil: they are not asked for
	put     []string // installs the file that follows
	back    []string // the same, over a later version
}

// managers in the order in which a manifest's package is chosen.
func managers() []manager {
	keeping := []string{"dpkg", "--force-confdef", "--force-confold", "--install"} // nobody is there to be asked
	return []manager{
		{".deb", "dpkg", []string{"dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", packageName}, []string{"dpkg-deb", "-W", "--showformat", "${Package} ${Architecture} ${Version}"},
			keeping, append([]string{"dpkg", "--force-downgrade"}, keeping[1:]...)},
		{".rpm", "rpm", []string{"rpm", "-q", "--qf", "installed %{VERSION}", packageName}, []string{"rpm", "-qp", "--nosignature", "--qf", "%{NAME} %{ARCH} %{VERSION}"},
			[]string{"rpm", "-U"}, []string{"rpm", "-U", "--oldpackage"}},
		{tarball, "tar", nil, nil, []string{"tar", "-xzf"}, nil},
		{msi, "msiexec", nil, nil, []string{"msiexec", "/qn", "/norestart", "/i"}, nil},
	}
}

// preferred is the kind of package that this machine takes.
func (r run) preferred() string {
	for _, m := range managers() {
		if r.onThisSystem(m) {
			if _, err := r.Find(m.tool); err == nil {
				return m.ext
			}
		}
	}
	return tarball
}

func (r run) onThisSystem(m manager) bool {
	return m.ext == msi && r.OS == "windows" || m.ext != msi && r.OS == "linux"
}

// install brings the package here, when it is not installed already.
func (r run) install(ctx context.Context) error {
	if r.Package == "" && r.Manifest == "" {
		if r.present(ctx) != "" {
			return nil // the agent that is here is registered
		}
		return fmt.Errorf("%w - no agent is installed, and no package is named: -package FILE or URL, or -manifest-url URL. ", ErrParameters)
	}
	f, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	m := r.manager(f.ext)
	if !r.onThisSystem(m) {
		return fmt.Errorf("a %s cannot be installed on %s", f.ext, r.OS)
	}
	if _, err := r.Find(m.tool); err != nil {
		return fmt.Errorf("a %s is installed by %s, which is not here: give the package that this system has, or the tar.gz: %w", f.ext, m.tool, err)
	}
	if f.version, err = r.describe(ctx, m, f); err != nil {
		return err
	}
	put, err := r.way(ctx, m, f.version)
	if err != nil || put == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installWithin)
	defer cancel()
	switch {
	case f.ext == tarball:
		err = r.unpack(ctx, f.file)
	case f.ext == msi && r.Downgrade:
		err = r.tool(ctx, append(put, f.file, "ALLOWDOWNGRADE=yes")...)
	default:
		err = r.tool(ctx, append(put, f.file)...)
	}
	if err != nil {
		return fmt.Errorf("install the package: %w", err)
	}
	r.say("amazon-ssm-agent %s is installed.", r.present(ctx))
	return nil
}

// manager is the tool for a kind of package.
func (r run) manager(ext string) manager {
	for _, m := range managers() {
		if m.ext == ext {
			return m
		}
	}
	return manager{ext: ext, tool: "a package manager"}
}

// tool runs one of the system's programs.
func (r run) tool(ctx context.Context, args ...string) error {
	out, err := r.Exec(ctx, "", args[0], args[1:]...)
	var exit interface{ ExitCode() int }
	if args[0] == "msiexec" && errors.As(err, &exit) && exit.ExitCode() == restartPending {
		r.say("The Windows Installer asks for a restart of the machine.")
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %s", args[0], said(out, err))
	}
	return nil
}

// describe is the version of a package that is the agent's, for this machine's
// architecture as its own tool sees it.
func (r run) describe(ctx context.Context, m manager, f found) (string, error) {
	if m.content == nil {
		return f.version, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	out, err := r.Exec(ctx, "", m.content[0], append(m.content[1:len(m.content):len(m.content)], f.file)...)
	if err != nil {
		return "", fmt.Errorf("look into the package: %s", said(out, err))
	}
	words := strings.Fields(out)
	if len(words) != 3 || words[0] != packageName {
		return "", fmt.Errorf("the package is not %s: it says %.100q", packageName, strings.TrimSpace(out))
	}
	version, _, _ := strings.Cut(words[2], "-")
	if f.version != "" && f.version != version {
		return "", fmt.Errorf("the package is of version %s, where the manifest says %s; nothing was installed", version, f.version)
	}
	return version, nil
}

// present is the version of the agent that is installed, in whichever way; empty
// for none.
func (r run) present(ctx context.Context) string {
	if _, err := r.Find(r.Agent); err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	out, err := r.Exec(ctx, "", r.Agent, "-version")
	if err != nil {
		return ""
	}
	_, version, _ := strings.Cut(strings.TrimSpace(out), ": ")
	return version
}

// way is how a version is installed over the one that is here; nil: it is the
// same, and nothing is done.
func (r run) way(ctx context.Context, m manager, version string) ([]string, error) {
	have := r.present(ctx)
	if m.have != nil { // the tool's own word counts: somebody else may have brought the program
		qctx, cancel := context.WithTimeout(ctx, queryWithin)
		defer cancel()
		out, err := r.Exec(qctx, "", m.have[0], m.have[1:]...)
		if words := strings.Fields(out); err == nil && len(words) == 2 && words[0] == "installed" {
			have, _, _ = strings.Cut(words[1], "-")
		}
	}
	if have == "" || version == "" {
		return m.put, nil
	}
	order, err := doc.CompareVersions(version, have)
	switch {
	case err != nil:
		return nil, fmt.Errorf("compare version %q of the package with %q, which is installed: %w", version, have, err)
	case order == 0:
		r.say("amazon-ssm-agent %s is installed already.", have)
		return nil, nil
	case order > 0:
		return m.put, nil
	case !r.Downgrade:
		return nil, fmt.Errorf("the package has version %s, and %s is installed: downgrade flag is not set (-downgrade)", version, have)
	case m.back == nil:
		return m.put, nil
	}
	return m.back, nil
}

// unpack unpacks a tarball and runs its script.
func (r run) unpack(ctx context.Context, file string) error {
	if err := r.tool(ctx, "tar", "-xzf", file, "-C", r.Scratch, "--no-same-owner"); err != nil {
		return err
	}
	entries, err := r.FS.ReadDir(r.Scratch)
	if err != nil {
		return fmt.Errorf("look into the package: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), packageName+"-") {
			return r.tool(ctx, "sh", filepath.Join(r.Scratch, e.Name(), "install.sh"))
		}
	}
	return errors.New("the package has no folder " + packageName + "-VERSION")
}
