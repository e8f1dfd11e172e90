package program

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"ssmagent/internal/job"
	"ssmagent/internal/localapi"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/ipc"
)

// agentClient asks the agent of this machine, or of the one below root.
func agentClient(root string) (localapi.Client, error) {
	p, err := pathsFor(root)
	return localapi.Client{Path: localapi.Socket(p.IPC), Dial: ipc.Dial, Check: ipc.CheckPeer}, err
}

// outputFlag is --output of fs.
func outputFlag(fs *flag.FlagSet) (asJSON func() (bool, error)) {
	output := fs.String("output", "table", "table or json")
	return func() (bool, error) {
		if *output != "table" && *output != "json" {
			return false, fmt.Errorf("--output is %q; use table or json", *output)
		}
		return *output == "json", nil
	}
}

// commandsMain is `ssm-cli commands`.
func commandsMain(ctx context.Context, s streams, root string, args []string) int {
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	fs := flag.NewFlagSet("ssm-cli commands "+word, flag.ContinueOnError)
	fs.SetOutput(s.err)
	output := outputFlag(fs)
	limit := localapi.MaxList
	takes := 1
	switch word {
	case "list":
		takes = 0
		fs.IntVar(&limit, "limit", 50, "how many are listed at most")
	case "show", "cancel":
	default:
		s.failf("ssm-cli", "commands list, show ID or cancel ID?")
		return exitUsage
	}
	words, code, ok := parseWords(fs, args)
	if !ok {
		return code
	}
	asJSON, err := output()
	if err == nil && len(words) != takes {
		err = fmt.Errorf("%s takes %d words besides flags, not %d: an id, which `ssm-cli commands list` shows", fs.Name(), takes, len(words))
	}
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitUsage
	}
	req := localapi.Request{List: limit}
	switch word {
	case "show":
		req = localapi.Request{Show: words[0]}
	case "cancel":
		req = localapi.Request{Cancel: words[0]}
	}
	if err := askAndPrint(ctx, s, root, req, asJSON); err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitCommand
	}
	return exitOK
}

// parseWords takes flags before, between and behind words.
func parseWords(fs *flag.FlagSet, args []string) (words []string, code int, ok bool) {
	for {
		if code, ok = parse(fs, args, -1); !ok || fs.NArg() == 0 {
			return words, code, ok
		}
		words, args = append(words, fs.Arg(0)), fs.Args()[1:]
	}
}

// askAndPrint prints a list, or one command.
func askAndPrint(ctx context.Context, s streams, root string, req localapi.Request, asJSON bool) error {
	c, err := agentClient(root)
	if err != nil {
		return err
	}
	var all []job.Summary
	var one *job.Summary
	var results []doc.Result
	err = c.Ask(ctx, req, func(a localapi.Answer) error {
		if a.Result != nil {
			results = append(results, *a.Result)
		}
		all, one = a.Commands, a.Command
		return nil
	})
	switch {
	case err != nil:
		return err
	case one != nil:
		one.Results = results
		if asJSON {
			return printJSON(s.out, one)
		}
		return printCommand(s.out, *one)
	case asJSON:
		return printJSON(s.out, append([]job.Summary{}, all...))
	}
	return printCommands(s.out, all)
}

func printCommands(out io.Writer, all []job.Summary) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMMAND\tSTATUS\tDOCUMENT\tFROM\tACCEPTED\tENDED\tSTEPS")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", c.ID, dash(string(c.Status)), printable(c.Document), dash(c.Channel), when(c.Accepted), when(c.Ended), c.Steps)
	}
	return w.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// printCommand prints what is known of one, what its steps printed too.
func printCommand(out io.Writer, c job.Summary) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range [][2]string{
		{"Command", c.ID}, {"Status", dash(string(c.Status))}, {"Document", printable(c.Document)}, {"From", dash(c.Channel)},
		{"Accepted", when(c.Accepted)}, {"Ended", when(c.Ended)}, {"Files", dash(c.Dir)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", l[0], l[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, r := range c.Results {
		if err := printOutput(out, r); err != nil {
			return err
		}
	}
	return printSteps(out, c.Results, c.Steps)
}

// printOutput prints what a step printed, under its name.
func printOutput(out io.Writer, r doc.Result) error {
	text := harmless(r.StandardOutput)
	for _, more := range []string{r.StandardError, r.Error} {
		if more != "" && !strings.Contains(text, harmless(more)) {
			text = strings.TrimSuffix(text, "\n") + "\n" + harmless(more)
		}
	}
	if text = strings.Trim(text, "\n"); text == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "--- %s\n%s\n\n", printable(r.ID), text)
	return err
}

// harmless is text of somebody else's for a terminal: lines and tabs stay.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, text)
}

func printSteps(out io.Writer, results []doc.Result, steps int) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tACTION\tSTATUS\tCODE\tTOOK")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%v\n", printable(r.ID), printable(r.Action), r.Status, r.ReplyCode(), r.End.Sub(r.Start).Round(time.Millisecond))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(results) < steps {
		fmt.Fprintf(out, "(%d of %d steps)\n", len(results), steps)
	}
	return nil
}

// documentCode is the exit code for a document that is over: that of the first
// step that failed, as ssm-local run has it.
func documentCode(status doc.Status, results []doc.Result) int {
	switch status {
	case doc.Success:
		return exitOK
	case doc.Failed:
		for _, r := range results {
			if r.Status == doc.Failed && r.Code > 0 && r.Code <= 254 {
				return r.Code
			}
		}
		return exitFailed
	}
	return exitLost // it never came to a code
}
