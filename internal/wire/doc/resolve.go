package doc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrPrecondition says that there is an argument of a precondition that cannot be resolved.
var ErrPrecondition = errors.New("unusable precondition")

// Options of Resolve.
type Options struct {
	// ValidateAll checks allowedValues and the limits too, as is done for
	// documents that aws:runDocument reads; commands check allowedPattern
	// only.
	ValidateAll bool
	// Store resolves {{ssm:name}}; without one such a reference is an error.
	Store ParameterStore
}

// Resolve turns a document and the values supplied for its parameters into
// steps ready to be run. Findings of one stage are joined; they hide those of
// later stages.
func (d Document) Resolve(ctx context.Context, supplied map[string]json.RawMessage, o Options) ([]Step, error) {
	if err := d.shape(); err != nil {
		return nil, err
	}
	values, err := d.values(supplied)
	if err != nil {
		return nil, err
	}
	room := &budget{left: maxExpanded}
	refs := &references{store: o.Store, cache: map[string]StoreParameter{}, budget: room}
	seen, err := d.validate(ctx, values, refs, o.ValidateAll)
	if err != nil {
		return nil, err
	}
	sub, err := newSubstituter(values, room)
	if err != nil {
		return nil, err
	}
	r := resolver{doc: d, sub: sub, refs: refs, env: d.environment(seen)}
	if r.script, err = r.withoutEnv(); err != nil {
		return nil, err
	}
	steps := r.steps2
	if d.v1() {
		steps = r.steps1
	}
	all, err := steps(ctx)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// values is the value of every name that can be referred to: what was
// supplied under an alphanumeric name, then the defaults.
func (d Document) values(supplied map[string]json.RawMessage) (map[string]any, error) {
	values := make(map[string]any, len(supplied)+len(d.Parameters))
	for name, raw := range supplied {
		if !alphanumeric().MatchString(name) {
			continue
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("%w: the value of parameter %s: %w", ErrDecode, quoted(name), err)
		}
		values[name] = v
	}
	for name, p := range d.Parameters {
		if _, ok := values[name]; !ok {
			values[name] = p.Default
		}
	}
	return values, nil
}

type resolver struct {
	doc    Document
	sub    *substituter      // every value
	script *substituter      // without those that travel in env
	env    map[string]string // of ENV_VAR parameters
	refs   *references
}

// environment is the variables of the ENV_VAR parameters, from values whose
// Parameter Store references are resolved.
func (d Document) environment(values map[string]any) map[string]string {
	env := map[string]string{}
	for name, p := range d.Parameters {
		if !d.viaEnv(p) {
			continue
		}
		if v, ok := values[name].(string); ok {
			env["SSM_"+name] = v
		}
	}
	return env
}

// viaEnv: String parameters of 2.2 documents only.
func (d Document) viaEnv(p Parameter) bool {
	return p.InterpolationType == "ENV_VAR" && p.Type == "String" && d.preconditions()
}

func (r resolver) withoutEnv() (*substituter, error) {
	if len(r.env) == 0 {
		return r.sub, nil
	}
	values := maps.Clone(r.sub.values)
	for name, p := range r.doc.Parameters {
		if _, ok := r.env["SSM_"+name]; ok && r.doc.viaEnv(p) {
			delete(values, name)
		}
	}
	return newSubstituter(values, r.sub.budget)
}

func (r resolver) tree(ctx context.Context, v any) (any, error) {
	v, err := r.sub.tree(v)
	if err != nil {
		return nil, err
	}
	return r.refs.resolve(ctx, v)
}

// inputs resolves a step's inputs. In the lines of a script an ENV_VAR
// parameter is not pasted: that is its point.
func (r resolver) inputs(ctx context.Context, action string, v any) (any, map[string]string, error) {
	isScript := action == "aws:runShellScript" || action == "aws:runPowerShellScript"
	if len(r.env) == 0 || !isScript {
		t, err := r.tree(ctx, v)
		return t, nil, err
	}
	t, err := r.scriptTree(v)
	if err != nil {
		return nil, nil, err
	}
	t, err = r.refs.resolve(ctx, t)
	return t, r.env, err
}

func (r resolver) scriptTree(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			c, err := r.scriptTree(e)
			if err != nil {
				return nil, err
			}
			list[i] = c
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			s := r.sub
			if equalFold(k, "runCommand") {
				s = r.script
			}
			c, err := s.tree(e)
			if err != nil {
				return nil, err
			}
			m[k] = c
		}
		return m, nil
	}
	return r.sub.tree(v)
}

// faults are those of a stage, with their paths. They are told together, but
// for the one that ends it all: a document that grows too large.
type faults struct {
	found []error
	over  bool
}

// at notes an error, if it is one.
func (f *faults) at(path string, err error) {
	if err != nil && !f.over && len(f.found) < maxFound {
		f.found = append(f.found, fmt.Errorf("%s: %w", clip(path), err))
		f.over = errors.Is(err, ErrTooLarge)
	}
}

func (f *faults) err() error { return errors.Join(f.found...) }

// steps1 orders the plugins of a 1.x document by name: the format has no order.
func (r resolver) steps1(ctx context.Context) ([]Step, error) {
	var steps []Step
	var f faults
	for _, name := range slices.Sorted(maps.Keys(r.doc.RuntimeConfig)) {
		p, path := r.doc.RuntimeConfig[name], "$.runtimeConfig."+name
		s := Step{ID: name, Action: name}
		var err error
		s.Dir, err = Dir(name)
		f.at(path, err)
		s.Settings, err = r.tree(ctx, p.Settings)
		f.at(path+".settings", err)
		s.Inputs, s.Env, err = r.inputs(ctx, name, p.Properties)
		f.at(path+".properties", err)
		if f.over {
			break
		}
		steps = append(steps, s)
	}
	return steps, f.err()
}

func (r resolver) steps2(ctx context.Context) ([]Step, error) {
	steps := make([]Step, 0, len(r.doc.MainSteps))
	var f faults
	for i, m := range r.doc.MainSteps {
		path := fmt.Sprintf("$.mainSteps[%d]", i)
		s := Step{ID: m.Name, Action: m.Action, V2: true, PreconditionsEnabled: r.doc.preconditions()}
		var err error
		s.Dir, err = Dir(m.Name)
		f.at(path+".name", err)
		s.Settings, err = r.tree(ctx, m.Settings)
		f.at(path+".settings", err)
		s.Inputs, s.Env, err = r.inputs(ctx, m.Action, m.Inputs)
		f.at(path+".inputs", err)
		if f.over {
			break
		}
		steps = append(steps, s)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	for i, m := range r.doc.MainSteps {
		p, err := r.preconditions(m)
		f.at(fmt.Sprintf("$.mainSteps[%d].precondition", i), err)
		steps[i].Preconditions = p
	}
	return steps, f.err()
}

func (r resolver) preconditions(m MainStep) (map[string][]Argument, error) {
	if len(m.Precondition) == 0 {
		return nil, nil
	}
	p := make(map[string][]Argument, len(m.Precondition))
	for operator, initial := range m.Precondition {
		args := make([]Argument, len(initial))
		for i, a := range initial {
			t, err := r.sub.argument(a)
			if err != nil {
				return nil, err
			}
			args[i] = Argument{Initial: a, Resolved: t}
		}
		p[operator] = args
	}
	return p, nil
}
