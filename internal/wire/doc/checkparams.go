package doc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// CheckParameters finds what is wrong with the parameters an operator gives a
// document: one sentence each, in order of the names.
func (d Document) CheckParameters(supplied map[string][]string) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(supplied)) {
		p, ok := d.Parameters[name]
		if !ok {
			errs = append(errs, fmt.Errorf("parameter %s is not declared by the document", quoted(name)))
			continue
		}
		if err := p.check(supplied[name]); err != nil {
			errs = append(errs, fmt.Errorf("parameter %s %w", quoted(name), err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Parameters)) {
		if _, ok := supplied[name]; !ok && d.Parameters[name].Default == nil {
			errs = append(errs, fmt.Errorf("parameter %s is required: the document has no default for it", quoted(name)))
		}
	}
	return errs
}

// check says what is wrong with values; what follows "parameter x".
func (p Parameter) check(values []string) error {
	v, err := p.convert(values)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(values, func(s string) bool { return storeReference().MatchString(s) }) {
		return nil // the agent checks what the reference stands for
	}
	if p.AllowedPattern != "" && (p.Type == "Boolean" || p.Type == "Integer") {
		v = values[0]
	}
	return p.checkValue(v)
}

func (p Parameter) checkValue(v any) error {
	for _, fault := range []string{p.pattern(v), p.chars(v), p.items(v), p.allowed(v)} {
		if fault != "" {
			return errors.New(fault)
		}
	}
	return nil
}

// allowed checks allowedValues alone, whatever the type.
func (p Parameter) allowed(v any) string {
	q := Parameter{AllowedValues: p.AllowedValues}
	return q.values(v)
}

// ServiceParameters turns an operator's lists of values into what travels to
// the agent, by declared type. Defaults stay out: the agent knows them.
func (d Document) ServiceParameters(supplied map[string][]string) (map[string]json.RawMessage, error) {
	if errs := d.CheckParameters(supplied); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	out := make(map[string]json.RawMessage, len(supplied))
	for name, values := range supplied {
		v, err := d.Parameters[name].convert(values)
		if err != nil {
			return nil, fmt.Errorf("parameter %s %w", quoted(name), err)
		}
		b, err := plain(v)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", quoted(name), err)
		}
		out[name] = json.RawMessage(b)
	}
	return out, nil
}

// convert gives a list of values its declared type.
func (p Parameter) convert(values []string) (any, error) {
	switch p.Type {
	case "StringList":
		return anyList(values), nil
	case "MapList":
		return mapList(values)
	}
	if len(values) != 1 {
		return nil, fmt.Errorf("is of type %s and takes one value, not %d", p.Type, len(values))
	}
	one := values[0]
	if storeWhole().MatchString(one) {
		return one, nil
	}
	switch p.Type {
	case "Boolean":
		switch one {
		case "true", "True", "TRUE":
			return true, nil
		case "false", "False", "FALSE":
			return false, nil
		}
		return nil, fmt.Errorf("is of type Boolean and takes true or false, not %s", quoted(one))
	case "Integer":
		n, err := strconv.ParseInt(one, 10, 64)
		if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
			return nil, fmt.Errorf("is of type Integer and takes a whole number of 32 bits, not %s", quoted(one))
		}
		return float64(n), nil
	case "StringMap":
		var m map[string]any
		if err := decodeExact(one, &m); err != nil || m == nil {
			return nil, fmt.Errorf("is of type StringMap and takes a JSON object, not %s", quoted(one))
		}
		return m, nil
	}
	return one, nil // String
}

func anyList(values []string) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// mapList reads JSON objects, one a value, or one value with an array of them.
func mapList(values []string) (any, error) {
	list := make([]any, 0, len(values))
	for _, v := range values {
		var m map[string]any
		if decodeExact(v, &m) == nil && m != nil {
			list = append(list, m)
			continue
		}
		var many []map[string]any
		if len(values) != 1 || decodeExact(v, &many) != nil {
			return nil, fmt.Errorf("is of type MapList and takes JSON objects, not %s", quoted(v))
		}
		for _, m := range many {
			list = append(list, m)
		}
	}
	return list, nil
}

// decodeExact keeps the digits of numbers as they were written.
func decodeExact(text string, v any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}
