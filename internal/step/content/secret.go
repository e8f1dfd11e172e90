package content

import (
	"context"
	"fmt"
	"strings"
)

// reference is the Parameter Store reference that s consists of: "ssm:name" or
// "ssm-secure:name".
func reference(s string) (ref string, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimSpace(s), "{{")
	if !ok {
		return "", false
	}
	s, ok = strings.CutSuffix(s, "}}")
	if !ok {
		return "", false
	}
	s = strings.TrimSpace(s)
	kind, name, _ := strings.Cut(s, ":")
	if kind != "ssm" && kind != "ssm-secure" || name == "" {
		return "", false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-./:", r) {
			return "", false
		}
	}
	return s, true
}

// reveal is the value of an input that may be a Parameter Store reference. The
// error names the input and never its value.
func (p Plugin) reveal(ctx context.Context, input, value string) (string, error) {
	ref, ok := reference(value)
	if !ok {
		return value, nil
	}
	v, err := p.Secret(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("%s: %w", input, err)
	}
	return v, nil
}
