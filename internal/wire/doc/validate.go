package doc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrValidation says that a parameter's value breaks what the document declares.
var ErrValidation = errors.New("parameter value is not allowed")

const maxPattern = 8 << 10 // bytes of an allowedPattern

// The names of the checks: stock agents' findings carry them.
const (
	checkRegex  = "AllowedRegexParamValidator"
	checkChars  = "MinMaxCharParamValidator"
	checkItems  = "MinMaxItemParamValidator"
	checkValues = "AllowedValueParamValidator"
)

// Finding is one fault of one parameter's value. It is an ErrValidation.
type Finding struct{ Check, Parameter, Text string }

// Error implements error.
func (f Finding) Error() string {
	return fmt.Sprintf("%s: parameter /%s/ %s", f.Check, f.Parameter, f.Text)
}

// Is implements errors.Is.
func (f Finding) Is(target error) bool { return target == ErrValidation }

// validate checks the values of the declared parameters and returns all values
// with Parameter Store references resolved where a check or a variable of the
// environment needs it.
func (d Document) validate(ctx context.Context, values map[string]any, refs *references, all bool) (map[string]any, error) {
	seen := maps.Clone(values)
	names := slices.Sorted(maps.Keys(d.Parameters))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, err := refs.resolve(ctx, values[name])
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
		seen[name] = v
	}
	var findings []error
	for _, name := range names {
		p := d.Parameters[name]
		note := func(check, text string) {
			if text != "" {
				findings = append(findings, Finding{check, name, text})
			}
		}
		note(checkRegex, p.pattern(seen[name]))
		if all && !hasReference(values[name]) {
			note(checkChars, p.chars(seen[name]))
			note(checkItems, p.items(seen[name]))
			note(checkValues, p.values(seen[name]))
		}
	}
	return seen, errors.Join(findings...)
}

// pattern checks allowedPattern; the empty text means no fault.
func (p Parameter) pattern(v any) string {
	if p.AllowedPattern == "" {
		return ""
	}
	re, err := compile(p.AllowedPattern)
	if err != nil {
		return "has an allowedPattern that is no valid expression: " + quoted(p.AllowedPattern)
	}
	switch v.(type) {
	case string, []any, map[string]any:
	default:
		return "has an allowedPattern and a value that is neither text, list nor map: /" + clip(valueText(v)) + "/"
	}
	for _, t := range texts(v) {
		if !re.MatchString(t) {
			return "has the value /" + clip(t) + "/ that does not match the allowedPattern " + quoted(p.AllowedPattern)
		}
	}
	return ""
}

// compile bounds what an expression may cost.
func compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("longer than %d bytes", maxPattern)
	}
	return regexp.Compile(pattern)
}

func (p Parameter) chars(v any) string {
	if p.Type == "Integer" || p.Type == "Boolean" || v == nil {
		return ""
	}
	low, high := limit(p.MinChars, 0), limit(p.MaxChars, math.MaxInt32)
	for _, t := range texts(v) {
		if len(t) < low || len(t) > high {
			return fmt.Sprintf("has a value of %d characters, allowed are %d to %d", len(t), low, high)
		}
	}
	return ""
}

func (p Parameter) items(v any) string {
	if p.Type == "String" || p.Type == "Integer" || p.Type == "Boolean" {
		return ""
	}
	var n int
	switch v := v.(type) {
	case []any:
		n = len(v)
	case map[string]any:
		n = len(v)
	default:
		return ""
	}
	if low, high := limit(p.MinItems, 0), limit(p.MaxItems, math.MaxInt32); n < low || n > high {
		return fmt.Sprintf("has %d items, allowed are %d to %d", n, low, high)
	}
	return ""
}

func (p Parameter) values(v any) string {
	switch p.Type {
	case "Integer":
		if n, ok := number(v); !ok || n != math.Trunc(n) || math.Abs(n) > math.MaxInt32 {
			return "must be a whole number of 32 bits"
		}
		fallthrough // an integer and a boolean may only be their default
	case "Boolean":
		if p.Default != nil && valueText(v) != valueText(p.Default) {
			return "may only have its default, " + valueText(p.Default)
		}
		return ""
	}
	if len(p.AllowedValues) == 0 {
		return ""
	}
	for _, t := range texts(v) {
		if !slices.Contains(p.AllowedValues, t) {
			return "has the value /" + clip(t) + "/, allowed are " + clip(strings.Join(p.AllowedValues, ", "))
		}
	}
	return ""
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// texts are the pieces of a value that checks look at: the elements of a list,
// else the value itself.
func texts(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return []string{valueText(v)}
	}
	all := make([]string, len(list))
	for i, e := range list {
		all[i] = valueText(e)
	}
	return all
}

// limit reads a limit; one that cannot be used is def.
func limit(n json.Number, def int) int {
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 || f > math.MaxInt32 || f != math.Trunc(f) {
		return def
	}
	return int(f)
}

func clip(s string) string {
	if len(s) > 200 {
		return cut(s, 200) + "…"
	}
	return s
}

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }
