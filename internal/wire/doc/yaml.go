package doc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"go.yaml.in/yaml/v2"
)

// ErrInternal says that the tree is one that the stock agent's parser cannot process.
var ErrInternal = errors.New("internal error")

// DecodeYAML decodes a document in YAML 1.1, as sub-documents may be written:
// untyped parts become JSON values, in which keys that are no strings (also
// y, n, on, off, yes, no: booleans in YAML 1.1) are dropped.
func DecodeYAML(content []byte) (d Document, err error) {
	if len(content) > MaxPayload {
		return Document{}, fmt.Errorf("%w: document has %d bytes, at most %d are accepted", ErrTooLarge, len(content), MaxPayload)
	}
	// The decoder reports its own faults by panicking and recovers them all
	// but for those its authors did not think of.
	defer func() {
		if r := recover(); r != nil {
			d, err = Document{}, fmt.Errorf("document: %w: YAML: %v", ErrDecode, r)
		}
	}()
	if err := yaml.Unmarshal(content, &d); err != nil {
		return Document{}, fmt.Errorf("document: %w: %w", ErrDecode, err)
	}
	if err := d.shape(); err != nil {
		return Document{}, err
	}
	for name, p := range d.Parameters {
		if !plainJSON(p.Default) {
			return Document{}, fmt.Errorf("document parameter %s: %w: a default in YAML must be text, a number, a boolean or a list of those, not a map; write the document as JSON", quoted(name), ErrInternal)
		}
	}
	return d, d.fromYAML()
}

// DecodeAny decodes a document in JSON or, when it is none, in YAML.
func DecodeAny(content []byte) (Document, error) {
	if text := bytes.TrimSpace(content); json.Valid(text) || bytes.HasPrefix(text, []byte("{")) {
		d, err := Decode(content)
		// YAML has a form with braces too.
		if err == nil || json.Valid(text) {
			return d, err
		}
		if y, yerr := DecodeYAML(content); yerr == nil {
			return y, nil
		}
		return d, err
	}
	return DecodeYAML(content)
}

// ValuesFromYAML reads the values of parameters from a YAML map. Nulls are left
// out.
func ValuesFromYAML(content []byte) (values map[string]json.RawMessage, err error) {
	if len(content) > MaxPayload {
		return nil, fmt.Errorf("%w: the parameters have %d bytes, at most %d are accepted", ErrTooLarge, len(content), MaxPayload)
	}
	defer func() {
		if r := recover(); r != nil { // see DecodeYAML
			values, err = nil, fmt.Errorf("%w: YAML: %v", ErrDecode, r)
		}
	}()
	var given map[string]any
	if err := yaml.Unmarshal(content, &given); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	values = make(map[string]json.RawMessage, len(given))
	for name, v := range given {
		if v == nil {
			continue
		}
		c, err := jsonValue(v)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", quoted(name), err)
		}
		if values[name], err = json.Marshal(c); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", quoted(name), err)
		}
	}
	return values, nil
}

func (d Document) fromYAML() error {
	var errs []error
	convert := func(where string, v *any) {
		c, err := jsonValue(*v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
		*v = c
	}
	for i := range d.MainSteps {
		convert("inputs of step "+quoted(d.MainSteps[i].Name), &d.MainSteps[i].Inputs)
		convert("settings of step "+quoted(d.MainSteps[i].Name), &d.MainSteps[i].Settings)
	}
	for name, p := range d.RuntimeConfig {
		convert("properties of "+quoted(name), &p.Properties)
		convert("settings of "+quoted(name), &p.Settings)
		d.RuntimeConfig[name] = p
	}
	return errors.Join(errs...)
}

func plainJSON(v any) bool {
	switch v := v.(type) {
	case map[any]any:
		return false
	case []any:
		for _, e := range v {
			if !plainJSON(e) {
				return false
			}
		}
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return true
}

func jsonValue(v any) (any, error) {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			name, ok := k.(string)
			if !ok {
				continue
			}
			c, err := jsonValue(e)
			if err != nil {
				return nil, err
			}
			m[name] = c
		}
		return m, nil
	case []any:
		for i, e := range v {
			c, err := jsonValue(e)
			if err != nil {
				return nil, err
			}
			v[i] = c
		}
	case float64:
		if !plainJSON(v) {
			return nil, fmt.Errorf("%w: %v is no JSON number", ErrInternal, v)
		}
	}
	return v, nil
}
