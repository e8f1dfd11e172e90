package doc

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// misfits finds every value of a document that is not of the JSON type it must
// be, with its path: the decoder stops at the first one. Nothing is found in
// what is no JSON at all.
func misfits(content []byte) error {
	var v any
	if json.Unmarshal(content, &v) != nil {
		return nil
	}
	m := &misfit{}
	form()(m, "$", v)
	return errors.Join(m.found...)
}

// misfit collects what misfits finds.
type misfit struct{ found []error }

// rule looks at a value at a path.
type rule func(m *misfit, path string, v any)

// form is the form of documents.
func form() rule {
	text, integer, texts := rule(isText), rule(isInteger), listOf(isText)
	parameter := record(map[string]rule{
		"type": text, "description": text, "allowedValues": texts, "allowedPattern": text, "interpolationType": text,
		"minChars": isNumber, "maxChars": isNumber, "minItems": isNumber, "maxItems": isNumber,
	})
	step := record(map[string]rule{
		"action": text, "name": text, "precondition": mapOf(texts), "maxAttempts": integer, "timeoutSeconds": integer, "onFailure": text,
	})
	return record(map[string]rule{
		"schemaVersion": text, "description": text, "parameters": mapOf(parameter),
		"runtimeConfig": mapOf(record(map[string]rule{"description": text})), "mainSteps": listOf(step),
	})
}

func (m *misfit) add(path, need string, v any) {
	if v == nil || len(m.found) >= maxFound { // null stands for nothing
		return
	}
	kind := "string"
	switch v.(type) {
	case bool:
		kind = "bool"
	case float64:
		kind = "number"
	case []any:
		kind = "array"
	case map[string]any:
		kind = "object"
	}
	m.found = append(m.found, fmt.Errorf("document: %w: %s is a JSON %s where %s is needed", ErrDecode, clip(path), kind, need))
}

func isText(m *misfit, path string, v any) {
	if _, ok := v.(string); !ok {
		m.add(path, "a string", v)
	}
}

func isInteger(m *misfit, path string, v any) {
	if f, ok := v.(float64); !ok || f != math.Trunc(f) {
		m.add(path, "an integer", v)
	}
}

func isNumber(m *misfit, path string, v any) {
	if t, ok := v.(string); ok {
		if _, err := strconv.ParseFloat(t, 64); err == nil {
			return
		}
	}
	if _, ok := v.(float64); !ok {
		m.add(path, "a number", v)
	}
}

func listOf(of rule) rule {
	return func(m *misfit, path string, v any) {
		list, ok := v.([]any)
		if !ok {
			m.add(path, "an array", v)
		}
		for i, e := range list {
			of(m, path+"["+strconv.Itoa(i)+"]", e)
		}
	}
}

func mapOf(of rule) rule {
	return func(m *misfit, path string, v any) {
		members, ok := v.(map[string]any)
		if !ok {
			m.add(path, "an object", v)
		}
		for _, k := range slices.Sorted(maps.Keys(members)) {
			of(m, path+"."+k, members[k])
		}
	}
}

// record is an object with members of which some have rules; their names are
// taken in any case, as the decoder takes them.
func record(rules map[string]rule) rule {
	return func(m *misfit, path string, v any) {
		members, ok := v.(map[string]any)
		if !ok {
			m.add(path, "an object", v)
		}
		for _, k := range slices.Sorted(maps.Keys(members)) {
			for name, r := range rules {
				if strings.EqualFold(name, k) {
					r(m, path+"."+k, members[k])
				}
			}
		}
	}
}
