package doc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Sentinels of Parameter Store references.
var (
	ErrStore        = errors.New("Parameter Store cannot be asked") // now; the document may be right
	ErrStoreName    = errors.New("invalid Parameter Store name")
	ErrSecureString = errors.New("SecureString parameter is not allowed in a document")
	ErrStringList   = errors.New("StringList parameter cannot be used as String")
)

// StoreParameter is a parameter as Parameter Store gives it.
type StoreParameter struct {
	Name     string
	Selector string // ":4" or ":label" when it was asked for with one
	Version  string // its number
	Type     string // String, StringList, SecureString
	Value    string
}

// ParameterStore fetches parameters without decrypting them: at most ten
// different names (with selectors) in one call. A name that does not exist is
// left out of the result.
type ParameterStore interface {
	GetParameters(ctx context.Context, names []string) ([]StoreParameter, error)
}

const storeBatch = 10

var (
	storeReference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{ *ssm:([/\w.:-]+) *\}\}`) })
	storeWhole     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\{\{ *ssm:([/\w.:-]+) *\}\}$`) })
)

// ResolveReferences returns values with the Parameter Store references in them
// replaced. It is for the parameters of session documents; those of commands
// are Resolve's.
func ResolveReferences(ctx context.Context, store ParameterStore, values map[string]any) (map[string]any, error) {
	r := references{store: store, cache: map[string]StoreParameter{}, budget: &budget{left: maxExpanded}}
	resolved, err := r.resolve(ctx, values)
	if err != nil {
		return nil, err
	}
	return resolved.(map[string]any), nil
}

// references resolves Parameter Store references; what it fetched it keeps
// for the rest of one parse.
type references struct {
	store  ParameterStore
	cache  map[string]StoreParameter
	budget *budget
}

// resolve returns tree with its references replaced.
func (r *references) resolve(ctx context.Context, tree any) (any, error) {
	names := map[string]bool{}
	collect(tree, names)
	if len(names) == 0 {
		return tree, nil
	}
	if err := r.fetch(ctx, names); err != nil {
		return nil, err
	}
	for name := range names {
		if r.cache[name].Type == "SecureString" {
			return nil, fmt.Errorf("%w: %s; only some plugins take it, as {{ssm-secure:%s}}", ErrSecureString, name, name)
		}
	}
	return r.replace(tree)
}

func collect(v any, names map[string]bool) {
	switch v := v.(type) {
	case string:
		for _, m := range storeReference().FindAllStringSubmatch(v, -1) {
			names[m[1]] = true
		}
	case []any:
		for _, e := range v {
			collect(e, names)
		}
	case map[string]any:
		for _, e := range v {
			collect(e, names)
		}
	}
}

func (r *references) fetch(ctx context.Context, names map[string]bool) error {
	var want []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if _, ok := r.cache[n]; !ok {
			want = append(want, n)
		}
	}
	if len(want) > 0 && r.store == nil {
		return fmt.Errorf("%w: %s: no Parameter Store is reachable from here", ErrStoreName, strings.Join(want, ", "))
	}
	var missing []string
	for batch := range slices.Chunk(want, storeBatch) {
		found, err := r.store.GetParameters(ctx, batch)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		for _, name := range batch {
			p, ok := match(name, found)
			if !ok {
				missing = append(missing, name)
			}
			r.cache[name] = p
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s: no such parameter", ErrStoreName, strings.Join(missing, ", "))
	}
	return nil
}

// match finds a name among what was fetched: with its selector first, then
// without. Services that do not repeat the selector tell the version.
func match(name string, found []StoreParameter) (StoreParameter, bool) {
	bare, _, _ := strings.Cut(name, ":")
	for _, fits := range []func(StoreParameter) bool{
		func(p StoreParameter) bool { return p.Name+p.Selector == name },
		func(p StoreParameter) bool { return p.Selector == "" && p.Name+":"+p.Version == name },
		func(p StoreParameter) bool { return p.Selector == "" && p.Name == bare },
	} {
		if i := slices.IndexFunc(found, fits); i >= 0 {
			return found[i], true
		}
	}
	return StoreParameter{}, false
}

func (r *references) replace(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return r.text(v)
	case []any:
		return r.list(v)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			c, err := r.replace(e)
			if err != nil {
				return nil, err
			}
			m[k] = c
		}
		return m, nil
	}
	return v, nil
}

// list replaces references in a list. A list that begins with text must be
// all text; in it a StringList takes as many places as it has values.
func (r *references) list(v []any) (any, error) {
	list := make([]any, 0, len(v))
	for i, e := range v {
		t, isText := e.(string)
		if _, first := v[0].(string); i > 0 && first && !isText {
			return nil, fmt.Errorf("%w: a list that begins with text holds other types; with a Parameter Store reference in the document every element must be text", ErrInternal)
		}
		if m := storeWhole().FindStringSubmatch(strings.TrimSpace(t)); isText && m != nil && r.cache[m[1]].Type == "StringList" {
			for _, part := range strings.Split(r.cache[m[1]].Value, ",") {
				list = append(list, part)
			}
			if err := r.budget.take(len(r.cache[m[1]].Value)); err != nil {
				return nil, err
			}
			continue
		}
		c, err := r.replace(e)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func (r *references) text(s string) (string, error) {
	var errs []error
	out := storeReference().ReplaceAllStringFunc(s, func(ref string) string {
		p := r.cache[storeWhole().FindStringSubmatch(ref)[1]]
		if p.Type == "StringList" {
			errs = append(errs, fmt.Errorf("%w: %s; a StringList must be a whole element of a list", ErrStringList, p.Name))
			return ""
		}
		if err := r.budget.take(len(p.Value)); err != nil {
			errs = append(errs, err)
			return ""
		}
		return p.Value
	})
	if len(errs) > 0 {
		return "", errs[0]
	}
	return out, nil
}

// hasReference says that a Parameter Store reference occurs anywhere in v.
func hasReference(v any) bool {
	names := map[string]bool{}
	collect(v, names)
	return len(names) > 0
}
