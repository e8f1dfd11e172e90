package auth

import (
	"errors"
	"net/http"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/sigv4"
)

// Stored is a request to S3 whose signature holds. The body has not been
// looked at: Payload says what it must be, and Chain checks the chunks of one
// that is streamed.
type Stored struct {
	Caller  api.Caller
	Payload string
	Chain   *sigv4.Chain
}

// Storage is Caller for requests to S3. Its refusals have S3's codes.
func (v *Verifier) Storage(r *http.Request) (Stored, *api.Error) {
	s, err := sigv4.ParseS3(r)
	switch {
	case errors.Is(err, sigv4.ErrUnsigned):
		return Stored{}, storageError("AccessDenied", "the request is not signed: configure an access key")
	case errors.Is(err, sigv4.ErrPayload):
		return Stored{}, &api.Error{Code: "InvalidRequest", Message: err.Error()}
	case err != nil:
		return Stored{}, &api.Error{Code: "AuthorizationHeaderMalformed", Message: err.Error()}
	case s.Service != sigv4.ServiceS3:
		return Stored{}, &api.Error{Code: "AuthorizationHeaderMalformed", Message: "the credential is scoped to service " + api.Clip(s.Service, 64) + ", this call needs s3"}
	}
	if e := v.timely(s); e != nil {
		return Stored{}, e
	}
	out := Stored{Payload: s.Payload}
	holds := func(secret string) bool {
		out.Chain = s.Chain(secret)
		return s.VerifyS3(r, secret)
	}
	c := api.Caller{Account: v.opt.Account, Region: s.Region, SourceIP: api.SourceIP(r), AccessKeyID: s.CredentialID}
	var e *api.Error
	if s.Token != "" {
		out.Caller, e = v.role(c, s, holds)
	} else {
		out.Caller, e = v.operator(c, s, holds)
	}
	return out, storageCode(e)
}

// timely refuses a presigned request that is over or not yet good, and any
// other whose clock is too far off.
func (v *Verifier) timely(s sigv4.Signature) *api.Error {
	if s.Expires == 0 {
		if e := v.fresh(s.Time); e != nil {
			return storageError("RequestTimeTooSkewed", e.Message)
		}
		return nil
	}
	now := v.opt.Clock.Now()
	switch {
	case now.After(s.Time.Add(s.Expires)):
		return storageError("AccessDenied", "Request has expired: it was presigned until "+s.Time.Add(s.Expires).UTC().Format(time.RFC3339)+": presign another one")
	case s.Time.After(now.Add(Skew)):
		return storageError("AccessDenied", "Request is not yet valid: its date is ahead of the control plane's clock")
	}
	return nil
}

// storageCode gives a refusal the code and status that S3 has for it.
func storageCode(e *api.Error) *api.Error {
	if e == nil || e.HTTPStatus() >= 500 {
		return e
	}
	switch e.Code {
	case "InvalidSignatureException":
		return storageError("SignatureDoesNotMatch", e.Message)
	case "UnrecognizedClientException":
		return storageError("InvalidAccessKeyId", e.Message)
	case "ExpiredTokenException":
		return &api.Error{Code: "ExpiredToken", Message: e.Message}
	}
	return storageError("AccessDenied", e.Message)
}

func storageError(code, message string) *api.Error {
	return &api.Error{Code: code, Message: message, Status: http.StatusForbidden}
}
