package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"ssmagent/fingerprint"
	"ssmagent/internal/identity"
)

// likeness is what `ssm-cli fingerprint` tells.
type likeness struct {
	Fingerprint string
	Properties  []property
	// Percent of the properties are as they were: Matched of Total.
	Percent             float32
	Matched, Total      int
	SimilarityThreshold int
	Decision            fingerprint.Decision
	Same                bool
	Verdict             string
}

// property is one fact of the hardware.
type property struct {
	Name, Registered, Now string
	Changed               bool
	// Compared is false for what only the stock agent collects.
	Compared bool
}

// fingerprintMain is `ssm-cli fingerprint`. It fails on another machine than
// the registered one.
func fingerprintMain(ctx context.Context, s streams, root string, args []string) error {
	fs := flag.NewFlagSet("ssm-cli fingerprint", flag.ContinueOnError)
	fs.SetOutput(s.err)
	output := fs.String("output", "table", "table or json")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || *output != "table" && *output != "json" {
		return errors.New("use: fingerprint [-output table|json]")
	}
	p, err := pathsFor(root)
	if err != nil {
		return err
	}
	rec, replaced, err := identity.RegisteredPrint(openVault(root, p))
	if err != nil {
		return err
	}
	now, err := fingerprint.Read(ctx)
	if err != nil {
		return err
	}
	l := liken(rec, now, replaced)
	if *output == "json" {
		err = printJSON(s.out, l)
	} else {
		err = l.print(s)
	}
	if err == nil && !l.Same {
		err = errors.New("this is not the machine that was registered")
	}
	return err
}

// liken compares this machine with the registered one; replaced says that the
// agent took it for another before.
func liken(rec fingerprint.Record, now map[string]string, replaced bool) likeness {
	r := fingerprint.Compare(rec.HardwareHash, now, rec.SimilarityThreshold)
	l := likeness{Fingerprint: rec.Fingerprint, Percent: r.Percent, Matched: r.Matched, Total: r.Total,
		SimilarityThreshold: rec.SimilarityThreshold, Decision: r.Decision, Same: r.Similar}
	names := maps.Clone(rec.HardwareHash)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, now)
	maps.DeleteFunc(names, func(name, _ string) bool { return fingerprint.Mark(name) })
	for _, name := range slices.Sorted(maps.Keys(names)) {
		_, compared := now[name]
		l.Properties = append(l.Properties, property{Name: name, Registered: rec.HardwareHash[name], Now: now[name],
			Changed: slices.Contains(r.Changed, name), Compared: compared})
	}
	reason := r.Reason(rec.SimilarityThreshold)
	switch {
	case !r.Similar:
		l.Verdict = "this machine is a clone of the registered one, or its hardware has changed: " + reason +
			"; register a clone anew (amazon-ssm-agent -register), for the same machine lower the threshold (amazon-ssm-agent -fingerprint -similarityThreshold 1)"
	case replaced:
		l.Verdict = "this is the registered machine again: " + reason + "; restart the agent, which had taken it for another"
	default:
		l.Verdict = "this is the registered machine: " + reason
	}
	return l
}

func (l likeness) print(s streams) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROPERTY\tREGISTERED\tNOW\tRESULT")
	for _, p := range l.Properties {
		result := "same"
		switch {
		case !p.Compared:
			result = "of the stock agent, not compared"
		case p.Changed:
			result = "changed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, dash(strings.TrimSpace(p.Registered)), dash(strings.TrimSpace(p.Now)), result)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "\n%d of %d properties are the same, %.1f %%; the threshold is %d.\n%s.\n",
		l.Matched, l.Total, l.Percent, l.SimilarityThreshold, strings.ToUpper(l.Verdict[:1])+l.Verdict[1:])
	return err
}
