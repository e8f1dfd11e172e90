package program

import (
	"fmt"
	"log/slog"

	"ssmagent/service"
)

// serviceWords are the verbs of service management.
var serviceWords = map[string]func(streams, service.Options) error{
	"install":   installService,
	"configure": configureService,
	"uninstall": uninstallService,
	"sweep":     func(s streams, _ service.Options) error { return sweepEditions(s) },
	"start":     func(_ streams, o service.Options) error { return service.Start(o) },
	"stop":      func(_ streams, o service.Options) error { return service.Stop(o) },
	"restart":   func(_ streams, o service.Options) error { return service.Restart(o) },
	"status":    showService,
	"purge":     purgeData,
}

// managing says whether the words ask for the service manager: a verb, alone or
// after the word service.
func managing(args []string) (verb string, rest []string, ok bool) {
	switch {
	case len(args) > 1 && args[0] == "service":
		return args[1], args[2:], true
	case len(args) == 0:
		return "", nil, false
	}
	return args[0], args[1:], args[0] == "service" || serviceWords[args[0]] != nil
}

// manage asks the service manager. Installers call it: 0 says that it is as
// asked for, also when it was before, 1 that it is not, and why, 2 that it was
// not understood.
func manage(s streams, verb string, rest []string) int {
	do, ok := serviceWords[verb]
	if !ok {
		s.failf("amazon-ssm-agent", "service: use install, configure, uninstall, sweep, start, stop, restart, status or purge")
		return exitUsage
	}
	if len(rest) > 0 {
		s.failf("amazon-ssm-agent", "%s takes no more words", verb)
		return exitUsage
	}
	o := service.Default()
	o.Log = func() *slog.Logger { return slog.New(slog.NewTextHandler(s.err, nil)) }
	if err := do(s, o); err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	return exitOK
}

func showService(s streams, o service.Options) error {
	st, err := service.State(o)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, st)
	return nil
}
