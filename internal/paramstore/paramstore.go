// Package paramstore fetches what documents refer to in Parameter Store: plain
// parameters when a document is resolved, secrets when a step needs one.
package paramstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// patience bounds a call with its repetitions: other commands and sessions
// wait meanwhile.
const patience = 20 * time.Second

// Store is Parameter Store. Its zero value has no way there.
type Store struct {
	// Call calls an operation of Systems Manager with the node's credentials.
	Call func(ctx context.Context, op string, in, out any) error
}

var _ doc.ParameterStore = Store{}

// GetParameters implements doc.ParameterStore. SecureStrings stay sealed.
func (s Store) GetParameters(ctx context.Context, names []string) ([]doc.StoreParameter, error) {
	return s.get(ctx, names, false)
}

func (s Store) get(ctx context.Context, names []string, decrypt bool) ([]doc.StoreParameter, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("GetParameters: no answer within %v", patience))
	defer cancel()
	var out ssm.GetParametersOutput
	if err := s.Call(ctx, "GetParameters", ssm.GetParametersInput{Names: names, WithDecryption: decrypt}, &out); err != nil {
		return nil, err
	}
	found := make([]doc.StoreParameter, len(out.Parameters))
	for i, p := range out.Parameters {
		found[i] = doc.StoreParameter{Name: p.Name, Selector: p.Selector, Version: strconv.FormatInt(p.Version, 10), Type: p.Type, Value: string(p.Value)}
	}
	return found, nil
}

// Secret fetches one parameter, decrypted. ref is "ssm-secure:name" or
// "ssm:name", as a document refers to it; the type of the parameter must agree.
func (s Store) Secret(ctx context.Context, ref string) (string, error) {
	kind, name, _ := strings.Cut(ref, ":")
	found, err := s.get(ctx, []string{name}, true)
	if err != nil {
		return "", err
	}
	bare, _, _ := strings.Cut(name, ":")
	i := slices.IndexFunc(found, func(p doc.StoreParameter) bool { return p.Name == bare || p.Name == name })
	switch {
	case i < 0:
		return "", fmt.Errorf("there is no parameter %q in Parameter Store", name)
	case kind == "ssm-secure" && found[i].Type != ssm.TypeSecureString:
		return "", fmt.Errorf("the parameter %q is of type %s; {{ssm-secure:%s}} needs a SecureString", name, found[i].Type, name)
	case kind == "ssm" && found[i].Type == ssm.TypeSecureString:
		return "", fmt.Errorf("the parameter %q is a SecureString; refer to it as {{ssm-secure:%s}}", name, name)
	}
	return found[i].Value, nil
}
