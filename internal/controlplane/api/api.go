// Package api is the rim of the control plane's JSON 1.1 services: callers,
// errors as AWS shapes them, operations as functions, page tokens.
package api

import (
	"context"
	"fmt"
	"net/http"
)

// Kind says how a caller proved itself.
type Kind int

// The kinds of callers.
const (
	Anonymous Kind = iota // no signature: only registration by activation
	Operator              // an access key of ours
	Node                  // a role token: acts for Caller.InstanceID only
	NodeKey               // signed with a node's RSA key: token and key calls
)

// Caller is who makes a call.
type Caller struct {
	Kind        Kind
	InstanceID  string // of Node and NodeKey
	AccessKeyID string
	ARN         string
	UserID      string
	Account     string
	Region      string // of the signature
	SourceIP    string
}

// Error is a refusal as AWS words it.
type Error struct {
	Code    string
	Message string
	Status  int // 400 when zero
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// HTTPStatus is the status to answer with.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// Errorf returns a refusal with status 400. The message names the member at
// fault and the remedy.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Handler serves one operation: body is the request's JSON, the result is
// marshalled (nil is {}). An error that is no *Error becomes
// InternalServerError with status 500 and is logged, not shown.
type Handler func(ctx context.Context, c Caller, body []byte) (any, error)

// Op is one operation and who may call it.
type Op struct {
	Allow  []Kind
	Handle Handler
	Body   int64 // bytes that a request may have; MaxBody when zero
}

// Ops maps "AmazonSSM.SendCommand" and the like to operations.
type Ops map[string]Op
