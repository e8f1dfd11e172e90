package session

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// maxInputs bounds the inputs of a session document, and its properties, also
// once substituted.
const maxInputs = 256 << 10

// substitute returns a part of a document with the values of its parameters.
// Services may deliver them filled in; then nothing is left to do.
func substitute(part json.RawMessage, values map[string]any) (json.RawMessage, error) {
	if len(part) > maxInputs {
		return nil, fmt.Errorf("they have more than %d bytes", maxInputs)
	}
	if len(values) == 0 || len(part) == 0 {
		return part, nil
	}
	var tree any
	if err := json.Unmarshal(part, &tree); err != nil {
		return nil, err
	}
	s := substitution{values: values, left: maxInputs}
	tree = s.apply(tree)
	if s.left < 0 {
		return nil, fmt.Errorf("with the parameters filled in they have more than %d bytes", maxInputs)
	}
	return json.Marshal(tree)
}

// parameters are the values by name, defaults included, what they refer to in
// Parameter Store fetched, patterns checked.
func parameters(ctx context.Context, c mgs.AgentTaskContent, store doc.ParameterStore) (map[string]any, error) {
	values := map[string]any{}
	for name, p := range c.DocumentContent.Parameters {
		raw, ok := c.Parameters[name]
		if !ok {
			raw = p.Default
		}
		if !parameterName(name) || len(raw) == 0 {
			continue
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
		values[name] = v
	}
	values, err := doc.ResolveReferences(ctx, store, values)
	if err != nil {
		return nil, fmt.Errorf("parameters of the session document: %w", err)
	}
	for name, p := range c.DocumentContent.Parameters {
		if text, ok := values[name].(string); ok && p.AllowedPattern != "" {
			if err := matches(name, text, p.AllowedPattern); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func matches(name, text, pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("allowedPattern of parameter %s: %w", name, err)
	}
	if !re.MatchString(text) {
		return fmt.Errorf("the value of parameter %s does not match its allowedPattern %.200q", name, pattern)
	}
	return nil
}

func parameterName(name string) bool {
	ok := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !ok(r) })
}

// substitution fills values into a tree, in one pass.
type substitution struct {
	values map[string]any
	left   int // bytes that may still be made
}

func (s *substitution) apply(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = s.apply(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = s.apply(e)
		}
		return v
	case string:
		return s.text(v)
	}
	return v
}

func (s *substitution) text(t string) any {
	if name, ok := whole(t); ok {
		if v, ok := s.values[name]; ok {
			return v
		}
	}
	var out strings.Builder
	for {
		i := strings.Index(t, "{{")
		if i < 0 {
			break
		}
		j := strings.Index(t[i:], "}}")
		if j < 0 {
			break
		}
		v, ok := s.values[strings.TrimSpace(t[i+2:i+j])]
		if !ok {
			out.WriteString(t[:i+2])
			t = t[i+2:]
			continue
		}
		text := strings.ReplaceAll(valueText(v), "$$", "$") // as stock agents do
		if s.left -= len(text); s.left < 0 {
			return ""
		}
		out.WriteString(t[:i])
		out.WriteString(text)
		t = t[i+j+2:]
	}
	out.WriteString(t)
	return out.String()
}

func whole(t string) (name string, ok bool) {
	t = strings.TrimSpace(t)
	if !strings.HasPrefix(t, "{{") || !strings.HasSuffix(t, "}}") || len(t) < 5 {
		return "", false
	}
	name = strings.TrimSpace(t[2 : len(t)-2])
	return name, parameterName(name)
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
