package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"ssmagent/internal/engine"
	"ssmagent/internal/job"
	"ssmagent/internal/localapi"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform"
)

// runDocumentMain is `ssm-cli run-document`. Its exit code is the document's;
// 255 is ours.
func runDocumentMain(ctx context.Context, s streams, root string, args []string) int {
	fs := flag.NewFlagSet("ssm-cli run-document", flag.ContinueOnError)
	fs.SetOutput(s.err)
	parameters := fs.String("parameters", "{}", `values as JSON: {"commands":["uptime"]}`)
	dry := fs.Bool("dry-run", false, "print the resolved steps and run nothing")
	output := outputFlag(fs)
	words, code, ok := parseWords(fs, args)
	if !ok {
		return code
	}
	asJSON, err := output()
	if err == nil && len(words) != 1 {
		err = errors.New("name one file: ssm-cli run-document FILE [--parameters JSON] [--dry-run]")
	}
	var d localapi.Document
	if err == nil {
		d.Parameters, err = localapi.Parameters(*parameters)
	}
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitUsage
	}
	d.Name = filepath.Base(words[0])
	if d.Content, err = readDocument(words[0]); err == nil {
		if *dry {
			code, err = exitOK, dryRun(ctx, s, root, d, asJSON)
		} else {
			code, err = runDocument(ctx, s, root, d, asJSON)
		}
	}
	if err != nil {
		s.failf("ssm-cli", "%v", err)
		return exitLost
	}
	return code
}

// readDocument reads a document's file; a pipe may be one too.
func readDocument(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, doc.MaxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if len(b) > doc.MaxPayload {
		return nil, fmt.Errorf("%s has more than %d bytes, which a document must not have", name, doc.MaxPayload)
	}
	return b, nil
}

// outcome is a document that was run, as JSON.
type outcome struct {
	Command, Files string
	Status         doc.Status
	Results        []doc.Result
}

// runDocument has the agent run d and shows what it does. Ctrl-C cancels it.
func runDocument(ctx context.Context, s streams, root string, d localapi.Document, asJSON bool) (code int, err error) {
	c, err := agentClient(root)
	if err != nil {
		return 0, err
	}
	var o outcome
	accepted, ended := make(chan string, 1), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { cancelWhen(ctx, c, accepted, ended) })
	err = c.Ask(context.WithoutCancel(ctx), localapi.Request{Run: &d}, func(a localapi.Answer) error {
		switch {
		case a.Accepted != "":
			o.Command, o.Files = a.Accepted, a.Dir
			accepted <- a.Accepted
		case a.Result != nil:
			o.Results = append(o.Results, *a.Result)
			if !asJSON {
				return printOutput(s.out, *a.Result)
			}
		case a.Restarting:
			fmt.Fprintf(s.err, "ssm-cli: the machine is about to restart; the document goes on after that: ssm-cli commands show %s\n", o.Command)
		}
		o.Status = a.Ended
		return nil
	})
	close(ended)
	wg.Wait()
	if errors.Is(err, localapi.ErrGone) && o.Command != "" {
		err = fmt.Errorf("%w; the document goes on without us: ssm-cli commands show %s", err, o.Command)
	}
	if err != nil {
		return 0, err
	}
	if asJSON {
		err = printJSON(s.out, o)
	} else if err = printSteps(s.out, o.Results, len(o.Results)); err == nil {
		_, err = fmt.Fprintf(s.out, "\n%s. Command %s, files in %s\n", o.Status, o.Command, o.Files)
	}
	return documentCode(o.Status, o.Results), err
}

// cancelWhen cancels the command that was accepted when ctx ends before it has
// ended.
func cancelWhen(ctx context.Context, c localapi.Client, accepted <-chan string, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	select {
	case id := <-accepted:
		// That it is over before it was cancelled is no failure.
		_ = c.Ask(context.WithoutCancel(ctx), localapi.Request{Cancel: id}, func(localapi.Answer) error { return nil })
	case <-ended:
	}
}

// foreseen is a step of a dry run.
type foreseen struct {
	Step, Action string
	Would        string            // run, skip or fail
	Why          string            `json:",omitempty"`
	Inputs       any               `json:",omitempty"`
	Environment  map[string]string `json:",omitempty"`
}

// dryRun shows what would be done. The agent knows Parameter Store; without an
// agent there is none.
func dryRun(ctx context.Context, s streams, root string, d localapi.Document, asJSON bool) error {
	c, err := agentClient(root)
	if err != nil {
		return err
	}
	var steps []doc.Step
	err = c.Ask(ctx, localapi.Request{Resolve: &d}, func(a localapi.Answer) error {
		if a.Step != nil {
			steps = append(steps, *a.Step)
		}
		return nil
	})
	if errors.Is(err, localapi.ErrNone) {
		steps, err = d.Resolve(ctx, nil)
	}
	if err != nil {
		return err
	}
	plan := foresee(steps, strings.ToLower(platform.Read().Type))
	if asJSON {
		return printJSON(s.out, plan)
	}
	return printPlan(s.out, plan)
}

// foresee says of each step what a worker of this build would do with it.
func foresee(steps []doc.Step, system string) []foreseen {
	handlers := plugins(job.Request{Node: job.Node{PlatformType: system}}, nil)
	plan := make([]foreseen, len(steps))
	for i, st := range steps {
		p := foreseen{Step: st.ID, Action: st.Action, Would: "run", Inputs: st.Inputs, Environment: st.Env}
		f := engine.Foresee(st, system, handlers)
		unable, lacks := handlers[st.Action].(missing)
		switch {
		case f.Status == doc.Skipped:
			p.Would, p.Why = "skip", f.Why
		case f.Status == doc.Failed:
			p.Would, p.Why = "fail", f.Why
		case lacks:
			p.Would, p.Why = "fail", unable.why
		}
		plan[i] = p
	}
	return plan
}

func printPlan(out io.Writer, plan []foreseen) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tACTION\tWOULD\tWHY")
	for _, p := range plan {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(p.Step), printable(p.Action), p.Would, printable(p.Why))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range plan {
		if p.Would != "run" {
			continue
		}
		b, err := json.MarshalIndent(p.Inputs, "", "  ")
		if err != nil {
			return fmt.Errorf("inputs of step %s: %w", p.Step, err)
		}
		fmt.Fprintf(out, "\n--- %s\n%s\n", printable(p.Step), harmless(string(b)))
		for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
			fmt.Fprintf(out, "%s=%s\n", printable(name), printable(p.Environment[name]))
		}
	}
	_, err := fmt.Fprintln(out, "\nNothing was run. Exit codes, onFailure and onSuccess of earlier steps may change what later ones do.")
	return err
}
