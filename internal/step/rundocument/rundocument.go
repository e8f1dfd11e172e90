// Package rundocument is the action aws:runDocument: a document inside a step,
// from Systems Manager or from a file, whose steps run in this same process.
package rundocument

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/engine"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

const (
	action   = "aws:runDocument"
	noop     = "AWS-Noop"
	maxDepth = 3 // documents inside one another, the command's own not counted

	dirMode  = 0o700
	fileMode = 0o600
)

// Plugin runs documents. It is safe for concurrent use.
type Plugin struct {
	// Plugins are the handlers of the sub-documents' steps; this one takes
	// the place of aws:runDocument in it.
	Plugins  step.Set
	Platform string
	// Document fetches the content of a document of Systems Manager.
	Document func(ctx context.Context, name, version string) ([]byte, error)
	Store    doc.ParameterStore
	Clock    clock.Clock

	// above are the documents around this one, outermost first.
	above []ancestor
}

type ancestor struct {
	name string
	sum  string // of its content and parameters
}

var _ step.Plugin = Plugin{}

type inputs struct {
	DocumentType       string          `json:"documentType"`
	DocumentPath       string          `json:"documentPath"`
	DocumentParameters json.RawMessage `json:"documentParameters"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := decode(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	if i.DocumentPath == noop {
		return step.Outcome{Status: doc.Success}
	}
	out, err := p.run(ctx, in, i)
	switch {
	case err != nil && ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	case err != nil:
		return step.Fail(in, fmt.Errorf("run document: %w", err))
	}
	return out
}

func decode(properties any) (inputs, error) {
	i, err := step.Decode[inputs](properties, "documentType and documentPath must be strings")
	if err != nil {
		return inputs{}, err
	}
	if i.DocumentPath == "" || strings.ContainsRune(i.DocumentPath, 0) {
		return inputs{}, errors.New("documentPath is missing, or holds a NUL character")
	}
	return i, nil
}

// run runs the document and returns what its steps add up to.
func (p Plugin) run(ctx context.Context, in step.Input, i inputs) (step.Outcome, error) {
	content, err := p.load(ctx, in, i)
	if err != nil {
		return step.Outcome{}, err
	}
	supplied, err := parameters(i.DocumentParameters)
	if err != nil {
		return step.Outcome{}, err
	}
	below, err := p.enter(i.DocumentPath, content, supplied)
	if err != nil {
		return step.Outcome{}, err
	}
	d, err := doc.DecodeAny(content)
	if err != nil {
		return step.Outcome{}, err
	}
	steps, err := d.Resolve(ctx, supplied, doc.Options{ValidateAll: true, Store: p.Store})
	if err != nil {
		return step.Outcome{}, err
	}
	streams := filepath.Join(in.StepDir, filepath.Base(in.StepDir))
	for _, dir := range []string{in.StepDir, streams} {
		if err := mkdir(in.CommandDir, dir); err != nil {
			return step.Outcome{}, fmt.Errorf("make the document's directory: %w", err)
		}
	}
	_, results, err := engine.Run{
		CommandID: in.CommandID, Steps: steps, Dir: in.StepDir, Streams: streams, Platform: p.Platform,
		Plugins: below, Recorder: forgetful{}, Clock: p.Clock,
	}.Execute(ctx)
	if err != nil {
		return step.Outcome{}, err
	}
	return gather(in, results), nil
}

// forgetful keeps no record: after a reboot the whole document runs again.
type forgetful struct{}

func (forgetful) Started(string) error      { return nil }
func (forgetful) Finished(doc.Result) error { return nil }

// enter makes the handlers for the steps of a document inside this one. It
// refuses one that is too deep, or that would go on for ever: the same content
// with the same parameters.
func (p Plugin) enter(name string, content []byte, supplied map[string]json.RawMessage) (step.Set, error) {
	given, err := json.Marshal(supplied)
	if err != nil {
		return nil, fmt.Errorf("documentParameters: %w", err)
	}
	sum := sha256.Sum256(slices.Concat(content, []byte{0}, given))
	own := ancestor{name: name, sum: hex.EncodeToString(sum[:])}
	var names []string
	for _, a := range p.above {
		names = append(names, a.name)
	}
	chain := strings.Join(append(names, name), " → ")
	for _, a := range p.above {
		if a.sum == own.sum {
			return nil, fmt.Errorf("the document runs itself without end: %s; break the circle", chain)
		}
	}
	if len(p.above) >= maxDepth {
		return nil, fmt.Errorf("documents are nested more than %d deep: %s; run the inner ones as steps of an outer one", maxDepth, chain)
	}
	inner := p
	inner.above = append(slices.Clone(p.above), own)
	set := step.Set{}
	for a, plugin := range p.Plugins {
		set[a] = plugin
	}
	set[action] = inner
	return set, nil
}

// parameters are the values for the document: an object, or text that holds
// one in JSON or YAML. Nulls are left out, so that defaults count.
func parameters(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if text = strings.TrimSpace(text); text == "" {
			return nil, nil
		}
		if !json.Valid([]byte(text)) {
			values, err := doc.ValuesFromYAML([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("documentParameters: %w", err)
			}
			return values, nil
		}
		raw = json.RawMessage(text)
	}
	var values map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &values); err != nil {
			return nil, errors.New("documentParameters must be an object of parameters, or text that holds one in JSON or YAML")
		}
	}
	for name, v := range values {
		if string(v) == "null" {
			delete(values, name)
		}
	}
	return values, nil
}

// load fetches the document's content.
func (p Plugin) load(ctx context.Context, in step.Input, i inputs) ([]byte, error) {
	switch i.DocumentType {
	case "SSMDocument":
		return p.fetch(ctx, in, i.DocumentPath)
	case "LocalPath":
		return readLocal(in.CommandDir, i.DocumentPath)
	}
	return nil, fmt.Errorf("documentType %.40q is neither SSMDocument nor LocalPath, in these letters", i.DocumentType)
}

// fetch reads a document of Systems Manager and keeps it for those who look.
func (p Plugin) fetch(ctx context.Context, in step.Input, given string) ([]byte, error) {
	name, version := doc.NameVersion(given)
	content, err := p.Document(ctx, name, version)
	if err != nil {
		return nil, err
	}
	base := name[strings.LastIndexAny(name, "/:")+1:] + ".json"
	if !filepath.IsLocal(base) {
		return nil, fmt.Errorf("documentPath %.100q is not the name of a document", given)
	}
	dir := filepath.Join(in.StepDir, "downloads")
	if err = mkdir(in.CommandDir, dir); err == nil {
		err = write(in.CommandDir, filepath.Join(dir, base), content)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the document: %w", err)
	}
	return content, nil
}

// readLocal reads a document's file: an absolute path as it is, any other below
// the command's downloads, out of which no link leads.
func readLocal(commandDir, path string) ([]byte, error) {
	open := os.Open
	if !filepath.IsAbs(path) {
		root, err := os.OpenRoot(filepath.Join(commandDir, "downloads"))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("documentPath %.200q lies below the command's downloads, but nothing was downloaded; put an aws:downloadContent step before this one", path)
		}
		if err != nil {
			return nil, err
		}
		defer root.Close()
		open = root.Open
		if info, err := root.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("documentPath %.200q is no file", path)
		}
	} else if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("documentPath %.200q is no file", path)
	}
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("documentPath: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, doc.MaxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("documentPath: %w", err)
	}
	if len(content) > doc.MaxPayload {
		return nil, fmt.Errorf("documentPath %.200q has more than %d bytes", path, doc.MaxPayload)
	}
	if len(strings.TrimSpace(string(content))) == 0 {
		return nil, fmt.Errorf("documentPath %.200q is empty", path)
	}
	return content, nil
}

// gather adds the results of the steps up to that of this one. The texts
// follow one another without a separator, as with stock agents.
func gather(in step.Input, results []doc.Result) step.Outcome {
	var out step.Outcome
	var lost error
	for _, r := range results {
		if _, err := io.WriteString(in.Stdout, r.StandardOutput); err != nil {
			lost = err
		}
		text := r.StandardError
		if r.Error != "" && !strings.Contains(text, r.Error) {
			text += r.Error
		}
		if _, err := io.WriteString(in.Stderr, text); err != nil {
			lost = err
		}
		if r.Error != "" {
			out.Status = doc.Merge(out.Status, doc.Failed)
		}
		out.Status = doc.Merge(out.Status, r.Status)
	}
	if lost != nil {
		out.Error = fmt.Sprintf("the step's output is not complete: %v", lost)
	}
	return out
}

func mkdir(commandDir, dir string) error {
	root, rel, err := within(commandDir, dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.MkdirAll(rel, dirMode)
}

func write(commandDir, name string, content []byte) error {
	root, rel, err := within(commandDir, name)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.WriteFile(rel, content, fileMode)
}

func within(commandDir, name string) (*os.Root, string, error) {
	rel, err := filepath.Rel(commandDir, name)
	if err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(commandDir)
	return root, rel, err
}
