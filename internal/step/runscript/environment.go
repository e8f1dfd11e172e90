package runscript

import (
	"maps"
	"os"
	"slices"
	"strings"

	"ssmagent/internal/environ"
	"ssmagent/internal/step"
)

// environment is what a script gets; of entries with one name the last wins:
// inherited, the step's, those of the document's parameters, the agent's own.
func (p Plugin) environment(in step.Input, given map[string]string) []string {
	inherit := p.Env
	if inherit == nil {
		inherit = os.Environ
	}
	e := variables{fold: p.Interpreter.FoldEnv, at: map[string]int{}}
	for _, entry := range inherit() {
		if name, _, _ := strings.Cut(entry, "="); !environ.Ours(name) {
			e.add(entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		e.add(name + "=" + given[name])
	}
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		if value := in.Env[name]; !strings.ContainsRune(value, 0) {
			e.add(name + "=" + value)
		}
	}
	for _, entry := range p.Extra {
		e.add(entry)
	}
	if in.CommandID != "" {
		e.add("SSM_COMMAND_ID=" + in.CommandID)
	}
	if p.Interpreter.RootHome {
		e.add("HOME=/")
		if i := slices.IndexFunc(e.list, func(s string) bool { return strings.Contains(s, "TERM") }); i >= 0 {
			e.list = slices.Delete(e.list, i, i+1)
		}
	}
	return e.list
}

// variables is an environment without two entries of one name: which of them
// counts differs between the programs that read it.
type variables struct {
	list []string
	at   map[string]int
	fold bool
}

func (v *variables) add(entry string) {
	// Windows has variables whose names begin with "=".
	end := strings.IndexByte(entry[min(1, len(entry)):], '=') + 1
	if end <= 0 {
		return // no variable
	}
	name := entry[:end]
	if v.fold {
		name = strings.ToUpper(name)
	}
	if i, ok := v.at[name]; ok {
		v.list[i] = entry
		return
	}
	v.at[name] = len(v.list)
	v.list = append(v.list, entry)
}
