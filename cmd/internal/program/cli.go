package program

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"ssmagent/internal/identity"
	"ssmagent/internal/vault"
)

const cliHelp = `usage: ssm-cli [-root DIR] COMMAND

  get-instance-information   this node's id, region and agent version, as JSON
  credentials explain        where this node's credentials are from, and why not from elsewhere
  recordings list            the recorded terminals of this node
  recordings play ID         shows a recording as it happened; -speed N, -idle SECONDS
  recordings export ID       prints a recording's file (asciicast v2); --text: what was
                             printed as plain lines, without full-screen programs
  audit show                 who did what on this node; --json: as it is written
  audit verify               finds changed, missing and reordered lines
  help                       this text
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
	switch fs.Arg(0) {
	case "":
		fmt.Fprintf(s.out, "%s\nerror: command is required\n", cliHelp)
		return exitUsage
	case "help":
		fmt.Fprint(s.out, cliHelp)
		return exitOK
	case "recordings":
		return recordings(ctx, s, *root, fs.Args()[1:])
	case "audit":
		return auditMain(s, *root, fs.Args()[1:])
	case "get-instance-information":
		if err := instanceInformation(s, *root, fs.Args()[1:]); err != nil {
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
	}
	fmt.Fprintf(s.out, "%s\nInvalid command %s.\n", cliHelp, fs.Arg(0))
	return exitUsage
}

// instanceInformation prints one line of JSON with sorted keys.
func instanceInformation(s streams, root string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown parameter %s", rest[0])
	}
	p, err := pathsFor(root)
	if err != nil {
		return err
	}
	id, ok, err := identity.Registered(vault.New(fileSystem(root), p.Data))
	if err != nil {
		return err
	}
	if !ok {
		return identity.ErrNone
	}
	return json.NewEncoder(s.out).Encode(map[string]string{"instance-id": id.InstanceID, "region": id.Region, "release-version": version})
}
