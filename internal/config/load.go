package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxFile is the size in bytes above which a configuration file is refused.
const MaxFile = 1 << 20

// Warning is something in the file that does not count as written there.
type Warning struct {
	Line    int    // in the file, from 1
	Field   string // "Mds.CommandRetryLimit"
	Message string
}

func (w Warning) String() string {
	return fmt.Sprintf("line %d: %s: %s", w.Line, w.Field, w.Message)
}

// Error is one fault of the file. Load joins all of them.
type Error struct {
	Line    int
	Column  int    // in characters, from 1; 0: not known
	Field   string // empty for faults of syntax
	Message string // cause and remedy
}

func (e *Error) Error() string {
	switch {
	case e.Field == "" && e.Column > 0:
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
	case e.Field == "":
		return fmt.Sprintf("line %d: %s", e.Line, e.Message)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Field, e.Message)
}

// LoadFile is Load of the file at path. A missing file means the defaults.
func LoadFile(path string) (Config, []Warning, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil, nil
	}
	if err != nil {
		return Default(), nil, fmt.Errorf("read the configuration (is it readable for this user?): %w", err)
	}
	defer f.Close()
	cfg, warnings, err := Load(f)
	if err != nil {
		err = fmt.Errorf("configuration %s: %w", path, err)
	}
	return cfg, warnings, err
}

// Load overlays the defaults with the JSON object in r. Names are matched as
// encoding/json does: exactly, else without regard to case. A number out of
// range or a word out of its list counts as the default, with a warning.
// Errors are syntax, types, unknown keys in "ssmagent" and a file over MaxFile;
// the configuration returned with one must not be used.
func Load(r io.Reader) (Config, []Warning, error) {
	cfg := Default()
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return cfg, nil, fmt.Errorf("read: %w", err)
	}
	if len(text) > MaxFile {
		return cfg, nil, fmt.Errorf("the file is larger than %d bytes; is it the right one?", MaxFile)
	}
	d := &decoder{text: text, lines: map[string]int{}, rules: rules()}
	for i, c := range text {
		if c == '\n' {
			d.breaks = append(d.breaks, i)
		}
	}
	if err := d.syntax(); err != nil {
		return cfg, nil, err
	}
	d.object(text, 0, "", reflect.ValueOf(&cfg).Elem())
	d.correct(&cfg)
	return cfg, d.warnings, errors.Join(d.errs...)
}

// decoder walks the text once and knows the line of everything it meets.
type decoder struct {
	text     []byte
	breaks   []int          // offsets of the line feeds
	lines    map[string]int // field -> line
	rules    []rule
	warnings []Warning
	errs     []error
}

func (d *decoder) line(offset int) int {
	n, _ := slices.BinarySearch(d.breaks, offset)
	return 1 + n
}

// column counts characters, as editors do.
func (d *decoder) column(offset int) int {
	offset = min(max(offset, 0), len(d.text))
	start := bytes.LastIndexByte(d.text[:offset], '\n') + 1
	return 1 + utf8.RuneCount(d.text[start:offset])
}

func (d *decoder) fail(line int, field, format string, args ...any) {
	d.errs = append(d.errs, &Error{Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(field, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{Line: d.lines[field], Field: field, Message: fmt.Sprintf(format, args...)})
}

// syntax checks that the text is one JSON object and nothing else.
func (d *decoder) syntax() error {
	if bytes.HasPrefix(d.text, []byte("\xef\xbb\xbf")) {
		return &Error{Line: 1, Message: "the file begins with a byte-order mark; save it as UTF-8 without one"}
	}
	var v json.RawMessage
	err := json.Unmarshal(d.text, &v)
	var se *json.SyntaxError
	switch {
	case errors.As(err, &se):
		at := int(se.Offset) - 1
		return &Error{Line: d.line(at), Column: d.column(at), Message: fmt.Sprintf("not JSON: %v; correct the file or remove it to use the defaults", se)}
	case err != nil:
		return &Error{Line: 1, Message: fmt.Sprintf("not JSON: %v; correct the file or remove it to use the defaults", err)}
	case v[0] != '{':
		return &Error{Line: 1, Message: "the file must be one JSON object, { … }"}
	}
	return nil
}

// object decodes raw, valid JSON that stands at base, into the struct v.
func (d *decoder) object(raw []byte, base int, path string, v reflect.Value) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		if !isNull(raw) {
			d.fail(d.line(base), path, "must be a JSON object, { … }")
		}
		return
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			d.fail(d.line(base), path, "not JSON: %v", err)
			return
		}
		key, _ := t.(string)
		keyAt := base + int(dec.InputOffset()) - 1
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			d.fail(d.line(keyAt), path, "not JSON: %v", err)
			return
		}
		d.member(key, keyAt, value, base+int(dec.InputOffset())-len(value), path, v)
	}
}

func (d *decoder) member(key string, keyAt int, value []byte, valueAt int, path string, v reflect.Value) {
	field, ok := lookup(v.Type(), key)
	if !ok {
		d.unknown(v.Type(), path, key, d.line(keyAt))
		return
	}
	name := join(path, jsonName(field))
	d.lines[name] = d.line(keyAt)
	target := v.FieldByIndex(field.Index)
	switch {
	case target.Kind() == reflect.Struct:
		d.object(value, valueAt, name, target)
	case target.Kind() == reflect.Slice && target.Type().Elem().Kind() == reflect.Struct:
		d.objects(value, valueAt, name, target)
	default:
		if err := json.Unmarshal(value, target.Addr().Interface()); err != nil {
			d.fail(d.line(valueAt), name, "must be %s, not %s", kindName(target.Type()), abbreviate(value))
		}
	}
}

// objects decodes a list of objects.
func (d *decoder) objects(raw []byte, base int, path string, v reflect.Value) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		d.fail(d.line(base), path, "must be a list of objects, not %s", abbreviate(raw))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	at := 0
	for i, item := range items {
		if off := bytes.Index(raw[at:], item); off >= 0 {
			at += off
		}
		d.object(item, base+at, fmt.Sprintf("%s[%d]", path, i), list.Index(i))
		at += len(item)
	}
	v.Set(list)
}

func (d *decoder) unknown(t reflect.Type, path, key string, line int) {
	short := strings.ToValidUTF8(abbreviate([]byte(key)), "?")
	if short == "" {
		short = abbreviate([]byte(strconv.Quote(key))) // blanks only
	}
	name := join(path, short)
	if path == "ssmagent" || strings.HasPrefix(path, "ssmagent.") {
		d.fail(line, name, "there is no such setting; known here: %s", strings.Join(names(t), ", "))
		return
	}
	d.warnings = append(d.warnings, Warning{Line: line, Field: name, Message: "unknown setting, ignored; " + d.remedy(t, path, key)})
}

// lookup finds the field of a key as encoding/json does.
func lookup(t reflect.Type, key string) (reflect.StructField, bool) {
	var folded *reflect.StructField
	for f := range t.Fields() {
		if jsonName(f) == key {
			return f, true
		}
		if folded == nil && strings.EqualFold(jsonName(f), key) {
			folded = &f
		}
	}
	if folded == nil {
		return reflect.StructField{}, false
	}
	return *folded, true
}

func jsonName(f reflect.StructField) string {
	if tag := f.Tag.Get("json"); tag != "" {
		return tag
	}
	return f.Name
}

func names(t reflect.Type) []string {
	var all []string
	for f := range t.Fields() {
		all = append(all, jsonName(f))
	}
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list of strings"
	default:
		return "a string"
	}
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

func abbreviate(raw []byte) string {
	const most = 60
	s := strings.Join(strings.Fields(string(raw)), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
