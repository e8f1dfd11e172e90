package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"ssmagent/internal/fsys"
	"ssmagent/platform/secfile"
)

// workerFS is the file system of a worker: with a trap if its agent has one.
func workerFS() fsys.FS {
	text := os.Getenv(nodeVar)
	if text == "" {
		return secfile.OS()
	}
	var s nodeSpec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	tr := &trap{spec: s, in: "worker", others: []int{s.Agent}}
	return tap{secfile.OS(), tr.before}
}

// trap kills its process, as kill -9 does, before one operation that it makes
// from the first one on that concerns a command whose id says so:
// trap-<agent or worker>-<alone or both>-… Which one it is, the command's
// plan says. It does so once, and not after the command's end. The operations
// of trap-<agent or worker>-none-… are recorded instead.
type trap struct {
	spec nodeSpec
	in   string
	mu   sync.Mutex
	// others are the processes that die with this one if both are to.
	others []int
	id     string
	moment string         // what the plan says
	seen   map[string]int // how often each operation was seen
}

// Files of a trap's directory, by the command's id. The one without extension
// is a link to what it killed before, or to over.
const (
	planExt   = ".plan"   // the moment to kill before
	recordExt = ".record" // moments, a line each
	over      = "over"
)

func (tr *trap) before(kind, name string) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, part := range strings.Split(name, string(filepath.Separator)) {
		if strings.HasPrefix(part, "trap-") && part != tr.id {
			plan, _ := os.ReadFile(filepath.Join(tr.spec.Traps, part+planExt))
			tr.id, tr.moment, tr.seen = part, string(plan), map[string]int{}
		}
	}
	words := strings.Split(tr.id, "-")
	if len(words) < 3 || words[1] != tr.in {
		return nil
	}
	base := filepath.Base(name)
	if base == tr.id {
		base = "the job's directory"
	}
	what := kind + " " + base
	tr.seen[what]++
	moment := fmt.Sprintf("%s, time %d", what, tr.seen[what])
	path := filepath.Join(tr.spec.Traps, tr.id)
	if words[2] == "none" {
		if _, err := os.Readlink(path); err == nil {
			return nil
		}
		return addLine(path+recordExt, moment)
	}
	if moment != tr.moment {
		return nil
	}
	if err := os.Symlink(what, path); err != nil {
		return nil // it has done its work, or may not do it any more
	}
	if words[2] == "both" {
		for _, pid := range tr.others {
			end(pid)
		}
	}
	end(os.Getpid())
	select {} // not a step further
}

func addLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

func end(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
