package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
)

// Document is one version of a document, as SendCommand needs it.
type Document struct {
	Name      string
	Version   string // a number
	Type      string // "Command"
	Content   []byte // JSON
	Hash      string // hex SHA-256
	Platforms []string
}

// Documents finds documents. An unknown name or version is an *api.Error,
// InvalidDocument or InvalidDocumentVersion.
type Documents interface {
	Resolve(tx *store.Tx, name, version string) (Document, error)
}

// maxExecution bounds the sum of the steps' time-outs.
const maxExecution = 30 * 24 * time.Hour

// plan is a document with an operator's parameters, ready to be sent.
type plan struct {
	content    json.RawMessage
	parameters map[string]json.RawMessage
	steps      []Step
	execution  time.Duration
}

func planFor(content []byte, supplied map[string][]string) (plan, *api.Error) {
	d, err := doc.Decode(content)
	if err != nil {
		return plan{}, api.Errorf("InvalidDocument", "%v", err)
	}
	if errs := d.CheckParameters(supplied); len(errs) > 0 {
		return plan{}, api.Errorf("InvalidParameters", "%v", join(errs))
	}
	parameters, err := d.ServiceParameters(supplied)
	if err != nil {
		return plan{}, api.Errorf("InvalidParameters", "%v", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil {
		return plan{}, api.Errorf("InvalidDocument", "the document is not JSON: %v", err)
	}
	p := plan{content: compact.Bytes(), parameters: parameters}
	p.outline(d)
	return p, nil
}

// outline notes the steps and how long they may take together. What cannot be
// resolved here (the agent will say why) counts with the default time-out.
func (p *plan) outline(d doc.Document) {
	steps, err := d.Resolve(context.Background(), p.parameters, doc.Options{Store: unknownValues{}})
	if err != nil {
		steps = nil
		for _, m := range d.MainSteps {
			steps = append(steps, doc.Step{ID: m.Name, Action: m.Action})
		}
		for name := range d.RuntimeConfig {
			steps = append(steps, doc.Step{ID: name, Action: name})
		}
		if len(d.MainSteps) == 0 {
			sort.Slice(steps, func(i, k int) bool { return steps[i].ID < steps[k].ID })
		}
	}
	for _, s := range steps {
		p.steps = append(p.steps, Step{Name: s.ID, Action: s.Action})
		p.execution = min(maxExecution, p.execution+stepTime(s.Inputs))
	}
}

// stepTime is the time-out in a step's inputs; the property blocks of a 1.x
// plugin run one after the other.
func stepTime(inputs any) time.Duration {
	switch in := inputs.(type) {
	case map[string]any:
		return doc.ExecutionTimeout(in["timeoutSeconds"])
	case []any:
		var sum time.Duration
		for _, e := range in {
			sum = min(maxExecution, sum+stepTime(e))
		}
		if len(in) > 0 {
			return sum
		}
	}
	return doc.ExecutionTimeout(nil)
}

// unknownValues answers for Parameter Store, whose values only the agent
// fetches; a time-out that hangs on one counts as the default.
type unknownValues struct{}

// GetParameters implements doc.ParameterStore.
func (unknownValues) GetParameters(_ context.Context, names []string) ([]doc.StoreParameter, error) {
	out := make([]doc.StoreParameter, 0, len(names))
	for _, n := range names {
		out = append(out, doc.StoreParameter{Name: n, Type: "String"})
	}
	return out, nil
}

// join puts several faults into one sentence.
func join(errs []error) error {
	const most = 5
	if len(errs) == 1 {
		return errs[0]
	}
	text := ""
	for i, e := range errs {
		switch {
		case i == most:
			return fmt.Errorf("%s; and %d more", text, len(errs)-most)
		case i > 0:
			text += "; "
		}
		text += e.Error()
	}
	return errors.New(text)
}
