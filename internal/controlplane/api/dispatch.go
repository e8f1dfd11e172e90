package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/wire/ssm"
)

// Bounds of a request. What is over MaxBody is not kept, but read up to
// maxDrain so that the client sees the refusal and no broken connection.
const (
	MaxBody  = 2 << 20
	maxDrain = 64 << 20
	bodyTime = 60 * time.Second
)

// Dispatcher serves the JSON 1.1 services: POST with an X-Amz-Target.
type Dispatcher struct {
	Ops Ops
	// Verify tells who calls, Anonymous when the request is not signed.
	Verify func(r *http.Request, body []byte) (Caller, *Error)
	Log    *slog.Logger
}

// ServeHTTP implements http.Handler.
func (d *Dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set("X-Amzn-RequestId", id)
	log := d.Log.With("request", id, "target", clip(r.Header.Get("X-Amz-Target")))
	out, err := d.serve(w, r, log)
	if err == nil {
		err = write(w, http.StatusOK, out)
		if err == nil {
			return
		}
	}
	e := ErrorOf(err)
	if e.HTTPStatus() >= 500 {
		log.Error("request", "error", err)
	} else {
		log.Debug("refused", "code", e.Code, "message", e.Message)
	}
	w.Header().Set("X-Amzn-ErrorType", e.Code)
	_ = write(w, e.HTTPStatus(), ssm.Error{Type: e.Code, Message: e.Message})
}

func (d *Dispatcher) serve(w http.ResponseWriter, r *http.Request, log *slog.Logger) (out any, err error) {
	target := r.Header.Get("X-Amz-Target")
	op, ok := d.Ops[target]
	if !ok {
		drain(w, r)
		return nil, Errorf(CodeUnknownOp, "the operation %s is not known here", clip(operation(target)))
	}
	limit := op.Body
	if limit == 0 {
		limit = MaxBody
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		return nil, tooLarge(target, limit, err)
	}
	c, refusal := d.Verify(r, body)
	if refusal != nil {
		return nil, refusal
	}
	if !slices.Contains(op.Allow, c.Kind) {
		return nil, denied(c, target)
	}
	return call(r.Context(), op.Handle, c, body, log)
}

// call turns a panic into an error: one bad request must not end all others.
func call(ctx context.Context, h Handler, c Caller, body []byte, log *slog.Logger) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h(ctx, c, body)
}

func denied(c Caller, target string) *Error {
	if c.Kind == Anonymous {
		return Errorf("MissingAuthenticationTokenException", "%s needs a signed request: configure an access key", operation(target))
	}
	return Errorf(CodeAccessDenied, "%s is not authorized to perform %s with this kind of credentials", c, operation(target))
}

// ErrTooLarge is returned by ReadBody for a body over MaxBody.
var ErrTooLarge = errors.New("the body is too large")

// ReadBody reads a request's body, at most MaxBody bytes, in at most a minute.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) { return readBody(w, r, MaxBody) }

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // recorders cannot
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	if r.ContentLength > limit {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, ErrTooLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + 1)
	}
	if _, err := b.ReadFrom(io.LimitReader(r.Body, limit+1)); err != nil {
		return nil, Errorf("SerializationException", "the body ended early: %v", err)
	}
	if int64(b.Len()) > limit {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}

func drain(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
	_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	_ = rc.SetReadDeadline(time.Time{})
}

func tooLarge(target string, limit int64, err error) error {
	if !errors.Is(err, ErrTooLarge) {
		return err
	}
	switch operation(target) {
	case "CreateDocument", "UpdateDocument":
		return Errorf("MaxDocumentSizeExceeded", "Content is over the limit of 64 KB for a document")
	}
	return &Error{Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("the request has more than %d bytes: send less at once", limit)}
}

// ErrorOf returns err as a refusal; what is none becomes InternalServerError
// without its text, which may hold what callers must not see.
func ErrorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Status: http.StatusInternalServerError,
		Message: "the control plane failed; its log has the cause under this request's id"}
}

func write(w http.ResponseWriter, status int, v any) error {
	if v == nil {
		v = struct{}{}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	w.Header().Set("Content-Type", ssm.ContentType)
	// A client that never reads must not hold its connection for ever.
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(bodyTime))
	// The connection may go on to carry a websocket.
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that went needs no answer
	return nil
}

// SourceIP is the address that a request came from.
func SourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return strings.Trim(host, "[]")
}
