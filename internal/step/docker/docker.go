// Package docker is the actions aws:runDockerAction and aws:configureDocker:
// the first runs the program docker with arguments made of the inputs, the
// second installs or removes Docker with the system's package manager.
package docker

import (
	"context"
	"fmt"
	"io"
	"strings"

	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
)

const program = "docker"

// Action runs docker. It is safe for concurrent use.
type Action struct {
	// Exec is runscript's.
	Exec        func(context.Context, step.Input, runscript.Program) step.Outcome
	FindProgram func(name string) (string, error)
}

var _ step.Plugin = Action{}

// inputs are the members that count.
type inputs struct {
	Action           string   `json:"action"`
	Container        string   `json:"container"`
	Image            string   `json:"image"`
	Cmd              string   `json:"cmd"`
	Memory           string   `json:"memory"`
	CPUShares        string   `json:"cpuShares"`
	Volume           []string `json:"volume"`
	Env              string   `json:"env"`
	User             string   `json:"user"`
	Publish          string   `json:"publish"`
	WorkingDirectory string   `json:"workingDirectory"`
	TimeoutSeconds   any      `json:"timeoutSeconds"`
}

// Run implements step.Plugin.
func (a Action) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := step.Decode[inputs](in.Properties, "volume must be a list of strings, timeoutSeconds a string or a number, the others strings")
	if err != nil {
		return step.Reject(in, err)
	}
	args, err := i.arguments()
	if err != nil {
		return step.Fail(in, err)
	}
	path, err := a.FindProgram(program)
	if err != nil {
		return step.Fail(in, fmt.Errorf("%w; install Docker first, for example with aws:configureDocker", err))
	}
	if len(i.Volume) > 0 {
		if _, err := fmt.Fprintf(in.Stdout, "pluginInput.Volume:%d", len(i.Volume)); err != nil {
			return step.Fail(in, err)
		}
	}
	return a.Exec(ctx, in, runscript.Program{Path: path, Args: append([]string{program}, args...), WorkingDirectory: i.WorkingDirectory, Timeout: i.TimeoutSeconds})
}

// arguments are what docker is given, in the stock agent's order. All volumes
// follow one --volume, and the command is one argument, also when it is empty.
func (i inputs) arguments() ([]string, error) {
	if err := i.check(); err != nil {
		return nil, err
	}
	switch i.Action {
	case "Create":
		return i.container("create")
	case "Run":
		return i.container("run", "-d")
	case "Start", "Stop", "Rm", "Logs":
		if i.Container == "" {
			return nil, i.lacks("container")
		}
		return []string{strings.ToLower(i.Action), i.Container}, nil
	case "Exec":
		if i.Container == "" || i.Cmd == "" {
			return nil, i.lacks("container and cmd")
		}
		return append(option([]string{"exec"}, "--user", i.User), i.Container, i.Cmd), nil
	case "Inspect":
		if i.Container == "" && i.Image == "" {
			return nil, i.lacks("container or image")
		}
		return given([]string{"inspect"}, i.Container, i.Image), nil
	case "Stats":
		return given([]string{"stats", "--no-stream"}, i.Container), nil
	case "Ps":
		return []string{"ps", "--all"}, nil
	case "Images":
		return []string{"images"}, nil
	case "Pull", "Rmi":
		if i.Image == "" {
			return nil, i.lacks("image")
		}
		return []string{strings.ToLower(i.Action), i.Image}, nil
	}
	return nil, fmt.Errorf("action %.40q is not known; use Create, Run, Start, Stop, Rm, Logs, Exec, Inspect, Ps, Stats, Images, Pull or Rmi, in these letters", i.Action)
}

func (i inputs) lacks(what string) error {
	return fmt.Errorf("action %s needs %s, which is not given", i.Action, what)
}

// container is how a container is made.
func (i inputs) container(verb ...string) ([]string, error) {
	if i.Image == "" {
		return nil, i.lacks("image")
	}
	args := verb
	if len(i.Volume) > 0 {
		args = append(append(args, "--volume"), i.Volume...)
	}
	for _, o := range [][2]string{{"--name", i.Container}, {"--memory", i.Memory}, {"--cpu-shares", i.CPUShares}, {"--publish", i.Publish}, {"--env", i.Env}, {"--user", i.User}} {
		args = option(args, o[0], o[1])
	}
	return append(args, i.Image, i.Cmd), nil
}

func option(args []string, name, value string) []string {
	if value == "" {
		return args
	}
	return append(args, name, value)
}

func given(args []string, values ...string) []string {
	for _, v := range values {
		if v != "" {
			args = append(args, v)
		}
	}
	return args
}

const (
	word    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	wordish = word + "_-"
)

// check holds the inputs to the characters that stock agents allow.
func (i inputs) check() error {
	if err := only("container", i.Container, wordish+`\/`); err != nil {
		return err
	}
	if err := only("image", i.Image, wordish+`.:\/`); err != nil {
		return err
	}
	if err := only("user", i.User, wordish); err != nil {
		return err
	}
	for _, v := range i.Volume {
		if err := only("volume", v, wordish+`\/:."()^ `); err != nil {
			return err
		}
	}
	if err := only("cpuShares", strings.TrimPrefix(i.CPUShares, "/"), wordish); err != nil {
		return err
	}
	if err := only("publish", i.Publish, word+`:-/.`); err != nil {
		return err
	}
	digits := i.Memory
	if digits != "" && strings.Contains("bkmg", digits[len(digits)-1:]) {
		digits = digits[:len(digits)-1]
	}
	if strings.Trim(digits, "0123456789") != "" {
		return fmt.Errorf("memory %.40q is not a number with b, k, m or g behind it", i.Memory)
	}
	for _, v := range [][2]string{{"env", i.Env}, {"cmd", i.Cmd}} {
		if strings.ContainsAny(v[1], ";,&|\x00") {
			return fmt.Errorf("%s holds one of ; , & | or a NUL character, which it must not", v[0])
		}
	}
	return nil
}

func only(name, value, allowed string) error {
	if bad := strings.TrimLeft(value, allowed); bad != "" {
		return fmt.Errorf("%s %.100q holds %q, which it must not", name, value, []rune(bad)[0])
	}
	return nil
}

// say writes a line of progress.
func say(in step.Input, text string) error {
	_, err := io.WriteString(in.Stdout, text+"\n")
	return err
}
