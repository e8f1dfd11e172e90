package fingerprint

import (
	"fmt"
	"slices"
)

// Decision is which rule decided a comparison.
type Decision string

// The rules, in the order in which they are asked.
const (
	ByDisabled   Decision = "disabled"
	ByNoData     Decision = "no-data"
	ByHardwareID Decision = "hardware-id-changed"
	ByCollector  Decision = "collector-changed"
	ByAddress    Decision = "ip-unchanged"
	ByPercentage Decision = "percentage"
)

// Result is the outcome of a comparison.
type Result struct {
	Similar  bool
	Decision Decision
	// Rebase says that the saved record followed other rules than current, so
	// that only the hardware id could be compared, and should be brought up to date.
	Rebase bool
	// Matched of Total properties are equal, which is Percent.
	Matched, Total int
	Percent        float32
	// Changed are the properties that differ, sorted.
	Changed []string
}

// Reason says in words what decided, where threshold was asked for.
func (r Result) Reason(threshold int) string {
	switch r.Decision {
	case ByDisabled:
		return "the check is disabled"
	case ByNoData:
		return "nothing is known to compare"
	case ByHardwareID:
		return "its hardware id is another"
	case ByCollector:
		return "its hardware id is the same, and the other properties are collected in a new way"
	case ByAddress:
		return "its hardware id and address are the same"
	default:
		return fmt.Sprintf("%.1f %% of its properties are the same, the threshold is %d %%", r.Percent, threshold)
	}
}

// Compare tells whether current can be the machine of saved.
func Compare(saved, current map[string]string, threshold int) Result {
	return compare(saved, current, threshold, idOf(current))
}

func idOf(facts map[string]string) string {
	if _, ok := facts[UUID]; ok {
		return UUID
	}
	return MachineID
}

func compare(saved, current map[string]string, threshold int, id string) Result {
	r := Result{Changed: changed(saved, current)}
	for name := range current {
		if !Mark(name) {
			r.Total++
		}
	}
	r.Matched = r.Total - len(r.Changed)
	r.Percent = float32(r.Matched) / float32(max(r.Total, 1)) * 100 // in 32 bits, as the stock agent
	upgraded := saved[id] != current[id] && id == UUID && current[OtherUUID] != "" && saved[id] == current[OtherUUID]
	other := current[Collector] != "" && saved[Collector] != current[Collector] || upgraded
	switch {
	case threshold == Disabled:
		r.Decision, r.Similar, r.Rebase = ByDisabled, true, other
	case len(saved) == 0 || len(current) == 0:
		r.Decision = ByNoData
	case saved[id] != current[id] && !upgraded:
		r.Decision = ByHardwareID
	case other:
		r.Decision, r.Similar, r.Rebase = ByCollector, true, true
	case saved[IPAddress] == current[IPAddress]:
		r.Decision, r.Similar = ByAddress, true
	default:
		r.Decision = ByPercentage
		r.Similar = r.Percent >= float32(threshold)
	}
	return r
}

// changed lists the properties of current that saved has not or has otherwise.
func changed(saved, current map[string]string) []string {
	var out []string
	for k, v := range current {
		if old, ok := saved[k]; !Mark(k) && (!ok || old != v) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
