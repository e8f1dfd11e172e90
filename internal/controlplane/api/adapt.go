package api

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// Codes that more than one package answers with.
const (
	CodeValidation   = "ValidationException"
	CodeAccessDenied = "AccessDeniedException"
	CodeUnknownOp    = "UnknownOperationException"
	CodeInternal     = "InternalServerError"
	CodeNextToken    = "InvalidNextToken"
)

// Strict adapts fn for operators: a member that the shape In does not have,
// one of the wrong type, and one that breaks a constraint of In's `check`
// tags are each a ValidationException that names the member. Names are exact.
func Strict[In, Out any](fn func(context.Context, Caller, In) (Out, error)) Handler {
	return adapt(fn, true)
}

// Lenient is Strict for agents: members that In does not have are skipped,
// since agents of other versions may send more.
func Lenient[In, Out any](fn func(context.Context, Caller, In) (Out, error)) Handler {
	return adapt(fn, false)
}

// Shared is Strict for operators and Lenient for everybody else.
func Shared[In, Out any](fn func(context.Context, Caller, In) (Out, error)) Handler {
	strict, lenient := adapt(fn, true), adapt(fn, false)
	return func(ctx context.Context, c Caller, body []byte) (any, error) {
		if c.Kind == Operator {
			return strict(ctx, c, body)
		}
		return lenient(ctx, c, body)
	}
}

func adapt[In, Out any](fn func(context.Context, Caller, In) (Out, error), strict bool) Handler {
	return func(ctx context.Context, c Caller, body []byte) (any, error) {
		var in In
		if err := decode(body, &in, strict); err != nil {
			return nil, err
		}
		return fn(ctx, c, in)
	}
}

// decode fills in from body. An empty body is {}.
func decode(body []byte, in any, strict bool) error {
	if len(body) == 0 {
		body = []byte("{}")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return Errorf("SerializationException", "the body is not JSON: %v", err)
	}
	w := walker{strict: strict}
	w.value(raw, reflect.TypeOf(in).Elem(), "", constraints{})
	if err := w.result(); err != nil {
		return err
	}
	if err := json.Unmarshal(body, in); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return Errorf(CodeValidation, "%s must be of another type than %s", te.Field, te.Value)
		}
		return Errorf(CodeValidation, "the body cannot be read: %v", err)
	}
	return nil
}

// MayActFor says whether the caller may make calls in the name of a node:
// nodes only for themselves, operators for all.
func (c Caller) MayActFor(instanceID string) *Error {
	if c.Kind == Operator || (c.Kind == Node || c.Kind == NodeKey) && c.InstanceID != "" && c.InstanceID == instanceID {
		return nil
	}
	return Errorf(CodeAccessDenied, "%s is not authorized to act for %s: a node's credentials are good for that node only", c, instanceID)
}

// String names the caller in messages and logs.
func (c Caller) String() string {
	switch {
	case c.ARN != "":
		return c.ARN
	case c.InstanceID != "":
		return "node " + c.InstanceID
	}
	return "an unsigned caller"
}

// Merge joins operation maps; a name that occurs twice is a bug and panics.
func Merge(all ...Ops) Ops {
	m := Ops{}
	for _, ops := range all {
		for name, op := range ops {
			if _, twice := m[name]; twice {
				panic("api: operation " + name + " is there twice")
			}
			m[name] = op
		}
	}
	return m
}

// operation is the part of a target after its prefix.
func operation(target string) string {
	if _, op, ok := strings.Cut(target, "."); ok {
		return op
	}
	return target
}
