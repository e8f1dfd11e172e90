package service

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	kardianos "github.com/kardianos/service"
)

//go:embed amazon-ssm-agent.service
var unit string

// packaged is where packages put the agent, as the unit's text has it.
const packaged = "/usr/bin/amazon-ssm-agent"

// Unit is the text of the systemd unit that packages ship.
func Unit() string { return unit }

// condition keeps a unit that outlives its package, which the deb's does until
// it is purged, from failing at every start.
const condition = "ConditionFileIsExecutable=" + packaged + "\n"

// unitFor is the unit with another program and arguments.
func unitFor(executable string, args []string) string {
	words := []string{quoteUnit(executable)}
	for _, a := range args {
		words = append(words, quoteUnit(a))
	}
	text := unit
	if executable != packaged {
		text = strings.Replace(text, condition, "", 1)
	}
	return strings.Replace(text, "ExecStart="+packaged, "ExecStart="+strings.Join(words, " "), 1)
}

// quoteUnit quotes a word of a command line (systemd.service(5)).
func quoteUnit(s string) string {
	s = strings.NewReplacer("%", "%%", "$", "$$").Replace(s)
	if s != "" && !strings.ContainsAny(s, " \t\r\n\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// Status is the state of a service.
type Status string

// The states of a service.
const (
	Running Status = "running"
	Stopped Status = "stopped"
)

// native is a service as this system's manager has it: the library's, with
// what that lacks.
type native interface {
	kardianos.Service
	Configure() error
}

// Install registers the service with the service manager and enables it.
func Install(o Options) error { return manage("install", o, native.Install) }

// Configure gives a service that something else installed the settings that
// Install gives. It is idempotent. Where a text has them, as systemd's, it is an
// error.
func Configure(o Options) error { return manage("configure", o, native.Configure) }

// Uninstall removes the service from the manager. On Windows it is stopped first,
// and one that is not there is no error; elsewhere it should be stopped before.
func Uninstall(o Options) error { return manage("uninstall", o, native.Uninstall) }

// Start asks the service manager to start the service.
func Start(o Options) error { return manage("start", o, native.Start) }

// Stop asks the service manager to stop the service.
func Stop(o Options) error { return manage("stop", o, native.Stop) }

// Restart asks the service manager to restart the service.
func Restart(o Options) error { return manage("restart", o, native.Restart) }

// State asks the service manager how the service is. ErrNotInstalled if it does not know it.
func State(o Options) (Status, error) {
	var status kardianos.Status
	err := manage("ask for the state of", o, func(s native) (err error) {
		status, err = s.Status()
		return err
	})
	if err != nil {
		return "", err
	}
	if status == kardianos.StatusRunning {
		return Running, nil
	}
	return Stopped, nil
}

func manage(what string, o Options, do func(native) error) error {
	s, err := handle(o)
	if err == nil {
		err = do(s)
	}
	return deed(what, o, err)
}

func deed(what string, o Options, err error) error {
	if errors.Is(err, kardianos.ErrNotInstalled) {
		err = ErrNotInstalled
	}
	if err != nil {
		return fmt.Errorf("%s service %s: %w", what, o.Name, err)
	}
	return nil
}

// handle is the service for managing it; nothing runs through it.
func handle(o Options) (native, error) {
	if err := manager(); err != nil {
		return nil, err
	}
	exe, err := o.executable()
	if err != nil {
		return nil, err
	}
	s, err := kardianos.New(&host{o: o}, o.config(exe))
	if err != nil {
		return nil, err
	}
	return o.native(s, exe), nil
}

func (o Options) config(exe string) *kardianos.Config {
	return &kardianos.Config{
		Name: o.Name, DisplayName: o.DisplayName, Description: o.Description,
		Executable: exe, Arguments: o.Arguments,
		Option: kardianos.KeyValue{"SystemdScript": unitFor(exe, o.Arguments), "LaunchdConfig": plistFor(o.Name, exe, o.Arguments)},
	}
}

func (o Options) executable() (string, error) {
	if o.Executable != "" {
		return filepath.Abs(o.Executable)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return exe, nil
}
