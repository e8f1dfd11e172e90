package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssmagent/cmd/internal/connect"
	"ssmagent/internal/identity"
)

const cliHelp = `usage: ssm-cli [-root DIR] COMMAND

  get-instance-information   this node's id, region and agent version, as JSON
  get-diagnostics            checks the node, its service and each hop of the way to AWS;
                             --output json|table
  status                     how the node is: channel, heartbeat, clock, credentials, memory
  readyz                     exits with 0 when the service counts the node as online, with 1 when
                             it does not, with 3 when no agent runs
  selftest                   takes this program through its work in a folder of its own: control
                             plane, registration, command, shell, forward; changes nothing else
  logs                       the agent's log; -n LINES, -f, -errors, -session ID, -command ID
  metrics                    the agent's figures, in the text format of Prometheus
  set-log-level LEVEL        debug, info, warn or error, until the agent is started again
  debug stacks|heap|profile  what the agent does; -o FILE, for profile -seconds N
  commands list              what waits, runs and has ended on this node; --limit N
  commands show ID           one command with what its steps printed
  commands cancel ID         ends it and all its processes, or takes it out of the queue
  run-document FILE          runs a document (JSON or YAML) as the agent would for the service, and
                             exits with its code; --parameters JSON; --dry-run prints the steps,
                             which would be skipped and why, and runs nothing
  send-offline-command       --content JSON or URL: gives a document to the agent's local folder
  get-offline-command-invocation
                             --command-id ID: what has become of it
  credentials explain        where this node's credentials are from, and why not from elsewhere
  fingerprint                how this machine is known again, what has changed, and the verdict;
                             -output json
  recordings list            the recorded terminals of this node
  recordings play ID         shows a recording as it happened; -speed N, -idle SECONDS
  recordings export ID       prints a recording's file (asciicast v2); --text: what was
                             printed as plain lines, without full-screen programs
  audit show                 who did what on this node; --json: as it is written
  audit verify               finds changed, missing and reordered lines
  help                       this text

status to run-document ask the running agent; --output json is for programs.
`

// exitCommand is the stock ssm-cli's code of a command that failed.
const exitCommand = 255

// cliMain is ssm-cli. Output goes to standard output, errors too, as with the
// stock program, but for commands that it does not have.
func cliMain(ctx context.Context, s streams, args []string) int {
	fs := flag.NewFlagSet("ssm-cli", flag.ContinueOnError)
	fs.SetOutput(s.out)
	fs.Usage = func() { fmt.Fprint(s.out, cliHelp) }
	root := fs.String("root", "", "the folder given to the agent as -root")
	if code, ok := parse(fs, args, -1); !ok {
		return code
	}
	verb := strings.ToLower(fs.Arg(0))
	verbs := nodeVerbs()
	if run, ok := verbs[verb]; ok {
		return run(ctx, s, *root, fs.Args()[1:])
	}
	switch verb {
	case "":
		fmt.Fprintf(s.out, "%s\nerror: command is required\n", cliHelp)
		return exitUsage
	case "help":
		fmt.Fprint(s.out, cliHelp)
		return exitOK
	case "get-instance-information":
		if err := instanceInformation(ctx, s, *root, fs.Args()[1:]); err != nil {
			fmt.Fprintf(s.out, "%s\nerror: %v\n", cliHelp, err)
			return exitCommand
		}
		return exitOK
	case "credentials":
		if err := credentialsMain(ctx, s, *root, fs.Args()[1:]); err != nil {
			s.failf("ssm-cli", "%v", err)
			return exitCommand
		}
		return exitOK
	case "fingerprint":
		if err := fingerprintMain(ctx, s, *root, fs.Args()[1:]); err != nil {
			s.failf("ssm-cli", "%v", err)
			return exitCommand
		}
		return exitOK
	}
	all := append(slices.Collect(maps.Keys(verbs)), "credentials", "fingerprint", "get-instance-information", "help")
	slices.Sort(all)
	fmt.Fprintf(s.out, "%s\nInvalid command %s.  The following commands are supported:\n\n%s\n", cliHelp, printable(fs.Arg(0)), strings.Join(all, "\n"))
	return exitUsage
}

// nodeVerbs are the commands that say themselves what went wrong.
func nodeVerbs() map[string]func(ctx context.Context, s streams, root string, args []string) int {
	return map[string]func(context.Context, streams, string, []string) int{
		"recordings": recordings, "audit": auditMain, "commands": commandsMain, "run-document": runDocumentMain,
		"send-offline-command": sendOfflineMain, "get-offline-command-invocation": offlineInvocationMain,
		"get-diagnostics": diagnosticsMain, "selftest": selftestMain, "logs": logsMain, "status": statusMain, "readyz": readyzMain, "metrics": metricsMain, "set-log-level": setLogLevelMain, "debug": debugMain,
	}
}

// instanceInformation prints one line of JSON with sorted keys: what the
// running agent is, or would be.
func instanceInformation(ctx context.Context, s streams, root string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown parameter %s", rest[0])
	}
	st, err := agentStatus(ctx, root)
	id := identity.Identity{InstanceID: st.InstanceID, Region: st.Region}
	if err != nil {
		if id, err = resolve(ctx, s, root); err != nil {
			return err
		}
	}
	return json.NewEncoder(s.out).Encode(map[string]string{"instance-id": id.InstanceID, "region": id.Region, "release-version": version})
}

// resolve finds out who an agent would be.
func resolve(ctx context.Context, s streams, root string) (identity.Identity, error) {
	p, err := pathsFor(root)
	if err != nil {
		return identity.Identity{}, err
	}
	cfg, err := loadConfig(s, p.ConfigFile)
	if err != nil {
		return identity.Identity{}, errors.New("without a configuration there is no identity")
	}
	id, _, err := identity.Resolve(ctx, cfg, openVault(root, p), connect.Cloud())
	return id, err
}
