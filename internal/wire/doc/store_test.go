package doc

import (
	"context"
	"testing"
)

// found answers every call with the same parameters.
type found []StoreParameter

func (f found) GetParameters(context.Context, []string) ([]StoreParameter, error) { return f, nil }

// TestStoreMatches: what the service found belongs to the reference that asked
// for it, whether it repeats the selector or tells the version only.
func TestStoreMatches(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]found{
		"selectors": {{Name: "p", Selector: ":1", Value: "one"}, {Name: "p", Selector: ":prod", Value: "two"}, {Name: "p", Value: "three"}},
		"versions":  {{Name: "p", Version: "3", Value: "three"}, {Name: "p", Version: "1", Value: "one"}, {Name: "p", Selector: ":prod", Version: "2", Value: "two"}},
	} {
		for i := range store {
			store[i].Type = "String"
		}
		got, err := ResolveReferences(t.Context(), store, map[string]any{"a": "{{ssm:p:1}} {{ssm:p:prod}} {{ ssm:p }}", "n": 1.0})
		if err != nil || got["a"] != "one two three" || got["n"] != 1.0 {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	// The answer to another selector is no answer.
	if got, err := ResolveReferences(t.Context(), found{{Name: "p", Selector: ":1", Type: "String"}}, map[string]any{"a": "{{ssm:p}}"}); err == nil {
		t.Error(got)
	}
	if got, err := ResolveReferences(t.Context(), nil, map[string]any{"a": "{{ssm-secure:p}}"}); err != nil || got["a"] != "{{ssm-secure:p}}" {
		t.Error(got, err)
	}
}
