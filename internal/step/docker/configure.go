package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
)

// repository is where Red Hat's package manager finds Docker.
const repository = "https://download.docker.com/linux/centos/docker-ce.repo"

// Configure installs Docker or removes it. It is safe for concurrent use.
type Configure struct {
	// Exec is runscript's.
	Exec        func(context.Context, step.Input, runscript.Program) step.Outcome
	FindProgram func(name string) (string, error)
	Platform    string // name of the distribution, "Amazon Linux"
}

var _ step.Plugin = Configure{}

// act is a deed for people and its commands.
type act struct {
	does     string
	commands []string // words between blanks; no shell reads them
}

// Run implements step.Plugin.
func (c Configure) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := step.Decode[struct {
		Action string `json:"action"`
		ID     string `json:"id"`
	}](in.Properties, "action and id must be strings")
	if err != nil {
		return step.Reject(in, err)
	}
	acts, done, err := plan(c.Platform, i.Action)
	if err != nil {
		return step.Fail(in, err)
	}
	for _, a := range acts {
		if err := say(in, a.does); err != nil {
			return step.Fail(in, err)
		}
		for _, command := range a.commands {
			if out := c.command(ctx, in, strings.Fields(command)); out.Status != doc.Success {
				return out
			}
		}
	}
	if err := say(in, done); err != nil {
		return step.Fail(in, err)
	}
	return step.Outcome{Status: doc.Success}
}

// plan is what an action means on a distribution, and what is said at its end.
func plan(platform, action string) (acts []act, done string, err error) {
	if action != "Install" && action != "Uninstall" {
		return nil, "", fmt.Errorf("action %.40q is neither Install nor Uninstall, in these letters", action)
	}
	install := action == "Install"
	switch name := strings.ToLower(platform); {
	case strings.Contains(name, "amazon") && install:
		acts = []act{
			{"Installing docker", []string{"yum install -y docker"}},
			{"Updating docker", []string{"yum update -y docker"}},
			{"Starting docker", []string{"service docker start"}},
		}
	case strings.Contains(name, "amazon"):
		acts = []act{{"Removing docker", []string{"yum remove -y docker"}}}
	case strings.Contains(name, "red hat") && install:
		acts = []act{
			{"Adding the package repository of docker", []string{"yum install -y yum-utils", "yum-config-manager --add-repo " + repository}},
			{"Installing docker-ce", []string{"yum install -y docker-ce"}},
			{"Starting docker", []string{"systemctl start docker"}},
		}
	case strings.Contains(name, "red hat"):
		acts = []act{{"Removing docker-engine", []string{"yum remove -y docker-engine"}}}
	default:
		return nil, "", fmt.Errorf("aws:configureDocker knows Amazon Linux and Red Hat only, not %.60q; install Docker with a script of aws:runShellScript", platform)
	}
	if install {
		return acts, "Docker is installed.", nil
	}
	return acts, "Docker is removed.", nil
}

// maxKept is how much of a failed command's output is shown.
const maxKept = 8 << 10

// command runs one command; its standard output is shown when it fails.
func (c Configure) command(ctx context.Context, in step.Input, words []string) step.Outcome {
	path, err := c.FindProgram(words[0])
	if err != nil {
		return step.Fail(in, err)
	}
	said, quiet := &kept{}, in
	quiet.Stdout = said
	out := c.Exec(ctx, quiet, runscript.Program{Path: path, Args: words})
	switch out.Status {
	case doc.Success, doc.Cancelled, doc.TimedOut:
		return out
	}
	out.Status = doc.Failed // also an exit code that scripts ask for a restart with
	text := strings.TrimSpace(said.String())
	if text != "" {
		text = ":\n" + text
	}
	shown := step.Fail(in, errors.New("\n"+strings.Join(words, " ")+" failed"+text+"\n"))
	out.Error = strings.TrimSpace(out.Error + "\n" + shown.Error)
	return out
}

// kept keeps the beginning of what is written.
type kept struct{ bytes.Buffer }

func (k *kept) Write(b []byte) (int, error) {
	_, _ = k.Buffer.Write(b[:min(len(b), max(maxKept-k.Len(), 0))]) // never fails
	return len(b), nil
}
