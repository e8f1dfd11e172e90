package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Bounds of a request's JSON: deeper nesting is refused by encoding/json at
// 10,000; maxFaults keeps a message readable.
const maxFaults = 5

// walker checks raw JSON against a Go type and its `check` tags before it is
// unmarshalled, so that presence, exact names and types are all seen.
type walker struct {
	strict bool
	faults []string
}

func (w *walker) result() error {
	switch n := len(w.faults); n {
	case 0:
		return nil
	case 1:
		return Errorf(CodeValidation, "1 validation error detected: %s", w.faults[0])
	default:
		return Errorf(CodeValidation, "%d validation errors detected: %s", n, strings.Join(w.faults[:min(n, maxFaults)], "; "))
	}
}

func (w *walker) fault(path, format string, args ...any) {
	if path == "" {
		path = "the body"
	}
	w.faults = append(w.faults, path+" "+fmt.Sprintf(format, args...))
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	rawMessage  = reflect.TypeFor[json.RawMessage]()
)

func (w *walker) value(raw json.RawMessage, t reflect.Type, path string, c constraints) {
	if len(w.faults) > maxFaults {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == rawMessage:
		return
	case reflect.PointerTo(t).Implements(unmarshaler):
		if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
			w.fault(path, "is not valid: %v", err)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		w.object(raw, t, path)
	case reflect.Map:
		w.mapping(raw, t, path, c)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			w.blob(raw, path, c)
			return
		}
		w.list(raw, t, path, c)
	default:
		w.scalar(raw, t, path, c)
	}
}

func (w *walker) object(raw json.RawMessage, t reflect.Type, path string) {
	var members map[string]json.RawMessage
	if !isKind(raw, '{') || json.Unmarshal(raw, &members) != nil {
		w.fault(path, "must be an object, not %s", kindOf(raw))
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		c := parseConstraints(f.Tag.Get("check"))
		v, ok := members[name]
		delete(members, name)
		if !ok || isKind(v, 'n') {
			if c.required {
				w.fault(join(path, name), "is required")
			}
			continue
		}
		w.value(v, f.Type, join(path, name), c)
	}
	if !w.strict {
		return
	}
	unknown := make([]string, 0, len(members))
	for name := range members {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		w.fault(join(path, clipName(name)), "is unknown or not supported here")
	}
}

func (w *walker) mapping(raw json.RawMessage, t reflect.Type, path string, c constraints) {
	var members map[string]json.RawMessage
	if !isKind(raw, '{') || json.Unmarshal(raw, &members) != nil {
		w.fault(path, "must be an object, not %s", kindOf(raw))
		return
	}
	if s := c.length(len(members)); s != "" {
		w.fault(path, "%s", s)
	}
	for name, v := range members {
		w.value(v, t.Elem(), join(path, clipName(name)), constraints{})
	}
}

func (w *walker) list(raw json.RawMessage, t reflect.Type, path string, c constraints) {
	var elements []json.RawMessage
	if !isKind(raw, '[') || json.Unmarshal(raw, &elements) != nil {
		w.fault(path, "must be a list, not %s", kindOf(raw))
		return
	}
	if s := c.length(len(elements)); s != "" {
		w.fault(path, "%s", s)
		return
	}
	for i, v := range elements {
		w.value(v, t.Elem(), fmt.Sprintf("%s[%d]", path, i), constraints{})
	}
}

// blob checks bytes, which JSON has as base64.
func (w *walker) blob(raw json.RawMessage, path string, c constraints) {
	var b []byte
	switch {
	case !isKind(raw, '"'):
		w.fault(path, "must be a string in base64, not %s", kindOf(raw))
	case json.Unmarshal(raw, &b) != nil:
		w.fault(path, "is not base64")
	case c.hasMin && len(b) < c.min, c.hasMax && len(b) > c.max:
		w.fault(path, "has %d bytes, needs %s", len(b), c.span())
	}
}

func (w *walker) scalar(raw json.RawMessage, t reflect.Type, path string, c constraints) {
	v := reflect.New(t)
	if isKind(raw, 'n') || json.Unmarshal(raw, v.Interface()) != nil {
		w.fault(path, "must be %s, not %s", typeName(t), kindOf(raw))
		return
	}
	s := ""
	switch e := v.Elem(); t.Kind() {
	case reflect.String:
		s = c.text(e.String())
	case reflect.Int, reflect.Int32, reflect.Int64:
		s = c.number(float64(e.Int()))
	case reflect.Float64:
		s = c.number(e.Float())
	}
	if s != "" {
		w.fault(path, "%s", s)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func clipName(s string) string {
	q := clip(s)
	if len(q) > 2 && q[1:len(q)-1] == s {
		return s
	}
	return q
}

// isKind says whether raw starts like the JSON kind: { [ " n for null.
func isKind(raw json.RawMessage, first byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == first
}

func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "the number " + clip(string(raw))
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
