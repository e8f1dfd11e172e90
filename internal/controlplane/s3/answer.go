package s3

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"time"

	"ssmagent/internal/controlplane/api"
	wire "ssmagent/internal/wire/s3"
)

func refusal(code string, status int, format string, args ...any) *api.Error {
	return &api.Error{Code: code, Status: status, Message: fmt.Sprintf(format, args...)}
}

// maxDrain is what is read of a body that is refused, so that the client sees
// the refusal and no broken connection.
const maxDrain = 64 << 20

// refuse answers with an error; to HEAD, only with its status.
func (c *call) refuse(err error) {
	e := api.ErrorOf(err)
	if e.Code == api.CodeInternal {
		e = refusal("InternalError", http.StatusInternalServerError, "We encountered an internal error; the control plane's log has it under this request's id")
	}
	if c.Header.Get("Expect") == "" && e.HTTPStatus() < 500 {
		_, _ = io.CopyN(io.Discard, c.Body, maxDrain)
	}
	c.w.Header().Del("Content-Length")
	c.w.Header().Del("Etag")
	c.answer(e.HTTPStatus(), wire.Error{Code: e.Code, Message: e.Message, Resource: c.URL.Path, Region: c.w.Header().Get(headerRegion), RequestID: c.id})
}

// answer writes v as XML; nil is an empty body.
func (c *call) answer(status int, v any) {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(pace))
	defer func() { _ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) }()
	if v == nil || c.Method == http.MethodHead || status == http.StatusNotModified {
		c.w.WriteHeader(status)
		return
	}
	b, err := xml.Marshal(v)
	if err != nil {
		c.s.opt.Log.Error("answer", "request", c.id, "error", err)
		status, b = http.StatusInternalServerError, nil
	}
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append([]byte(xml.Header), b...)) // a client that went needs no answer
}

// maxXML bounds the XML of a request: ten thousand parts with a checksum each.
const maxXML = 4 << 20

// decode reads the request's XML, whose hashes it checks.
func (c *call) decode(v any) error {
	body, e := c.content(maxXML)
	if e != nil {
		return e
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	return parseXML(b, v)
}

// parseXML reads a document without a DTD: there are no entities to expand.
func parseXML(b []byte, v any) error {
	if err := xml.Unmarshal(b, v); err != nil {
		return refusal("MalformedXML", 400, "The XML you provided was not well-formed or did not validate against our published schema: %s", api.Clip(err.Error(), 64))
	}
	return nil
}

// isoTime is a time in answers.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
