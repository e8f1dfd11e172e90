// Command bench measures the real processes over real sockets and writes what
// it saw, beside what was asked for and what the stock agent took on the same
// kind of machine. It runs at least five times where a run is short and gives
// the median.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// Row is one figure. Ratio is the stock agent's figure over ours (for rates
// ours over its), so more than 1 is better than stock; 0 where there is none.
type Row struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target float64 `json:"target"`
	OK     bool    `json:"ok"`
	Peer   float64 `json:"peer"`
	Ratio  float64 `json:"ratio"`
}

// table collects rows.
type table struct{ rows []Row }

// most adds a figure that should be at most target.
func (t *table) most(name, unit string, value, target, peer float64) {
	r := Row{Name: name, Value: value, Unit: unit, Target: target, OK: value <= target, Peer: peer}
	if value > 0 {
		r.Ratio = peer / value
	}
	t.add(r)
}

// least adds a figure that should be at least target.
func (t *table) least(name, unit string, value, target, peer float64) {
	r := Row{Name: name, Value: value, Unit: unit, Target: target, OK: value >= target, Peer: peer}
	if peer > 0 {
		r.Ratio = value / peer
	}
	t.add(r)
}

func (t *table) add(r Row) {
	t.rows = append(t.rows, r)
	fmt.Fprintf(os.Stderr, "  %s: %.4g %s\n", r.Name, r.Value, r.Unit)
}

func (t *table) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVALUE\tUNIT\tTARGET\tOK\tSTOCK\tRATIO")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%.4g\t%v\t%.4g\t%.2f\n", r.Name, r.Value, r.Unit, r.Target, r.OK, r.Peer, r.Ratio)
	}
	w.Flush()
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

func main() {
	out := flag.String("out", "", "write the rows as JSON to this file")
	idle := flag.Duration("idle", idleTime, "how long the idle agent is watched")
	soak := flag.Int("soak", 1000, "how many sessions are opened and ended one after the other")
	only := flag.String("only", "", "run only these parts, by comma: commands, queue, poll, sessions, soak, idle; or of sessions prompt, keys, output, paste, ports, copies, many, first")
	plugin := flag.String("plugin", "build/tools/session-manager-plugin", "the stock client's program, which make builds")
	flag.Parse()
	b := &bench{bin: os.Getenv("SSMAGENT_BIN"), idle: *idle, soakRuns: *soak, only: *only, plugin: *plugin}
	err := b.run()
	b.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	b.table.print()
	if *out == "" {
		return
	}
	raw, err := json.MarshalIndent(b.table.rows, "", "  ")
	if err == nil {
		err = os.WriteFile(*out, append(raw, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
