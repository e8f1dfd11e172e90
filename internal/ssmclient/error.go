package ssmclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"ssmagent/internal/wire/ssm"
)

// AccessDenied is the code that makes an agent change channels and slow down.
const AccessDenied = "AccessDeniedException"

// BadSignature is the code of a call whose signature is not by the right key,
// for the right region or of the right time.
const BadSignature = "InvalidSignatureException"

// Error is a refusal by the service.
type Error struct {
	Code      string // without namespace; empty when the answer has none
	Message   string
	Status    int // of HTTP
	RequestID string
	Date      time.Time // the service's, zero when it did not say
	// SessionOver: the session whose data channel was asked for has ended.
	SessionOver bool
}

func (e *Error) Error() string {
	s := e.Code
	if s == "" {
		s = fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Code is the code of the *Error in err, empty when there is none.
func Code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// refusal reads an error answer: JSON with __type and message.
func refusal(resp *http.Response, body []byte) *Error {
	e := newError(resp)
	var w ssm.Error
	if json.Unmarshal(body, &w) == nil {
		e.Code, e.Message = w.Type, clean(w.Message)
	} else {
		e.Message = clean(string(body))
	}
	if e.Code == "" {
		e.Code, _, _ = strings.Cut(resp.Header.Get("X-Amzn-ErrorType"), ":")
	}
	if i := strings.LastIndexByte(e.Code, '#'); i >= 0 {
		e.Code = e.Code[i+1:]
	}
	e.Code = clean(e.Code)
	return e
}

func newError(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, RequestID: clean(resp.Header.Get("X-Amzn-Requestid"))}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		e.Date = t
	}
	return e
}

// clean makes text of the other end fit for a log line or a terminal.
func clean(s string) string {
	const most = 1024
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

// Unreachable is a call that got no answer: cause and remedy, and the error
// underneath.
type Unreachable struct {
	Host   string
	Reason string // one sentence
	Final  bool   // trying again cannot help
	Err    error
}

func (u *Unreachable) Error() string { return u.Reason }

// Unwrap returns the error underneath.
func (u *Unreachable) Unwrap() error { return u.Err }

// Unanswered puts into words why a call to the endpoint got no answer, for
// calls that are made without a Client. An error of ctx passes as it is.
func Unanswered(endpoint string, err error) error { return unreachable(endpoint, err) }

// Clean makes text of the other end fit for a log line or a terminal.
func Clean(s string) string { return clean(s) }

// unreachable puts what went wrong below HTTP into words. An error of ctx
// passes as it is when the caller ended it.
func unreachable(endpoint string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	host := endpoint
	if u, perr := url.Parse(endpoint); perr == nil && u.Host != "" {
		host = u.Host
	}
	u := &Unreachable{Host: host, Err: err}
	u.Reason, u.Final = describe(host, err)
	return u
}

func describe(host string, err error) (reason string, final bool) {
	if r, ok := describeTLS(host, err); ok {
		return r, true
	}
	if p, ok := errors.AsType[*proxyError](err); ok {
		return host + " cannot be reached: " + p.reason, false
	}
	if uerr, ok := errors.AsType[*url.Error](err); ok {
		err = uerr.Err // without the method and the URL
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Sprintf("the host %s does not exist (%s); check the region, the endpoint in the configuration and the name server",
			dns.Name, "no such name"), false
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer from %s in time; check the network, firewall and proxy (https_proxy)", host), false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Sprintf("%s cannot be reached (%v); check the endpoint, and that the service runs and no firewall is between", host, op.Err), false
	}
	return fmt.Sprintf("the call to %s broke off: %v", host, err), false
}

func describeTLS(host string, err error) (string, bool) {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := ""
		if e.Cert != nil {
			issuer = fmt.Sprintf(" (issued by %q)", clean(e.Cert.Issuer.CommonName))
		}
		return fmt.Sprintf("the certificate of %s%s is not trusted; add its CA to the system's trust store, "+
			"or name the CA's PEM file as CABundle in section ssmagent of the configuration", host, issuer), true
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return fmt.Sprintf("the certificate of %s is not valid at this machine's time; "+
				"set the clock if it is wrong, else the service needs a new certificate (%s)", host, e.Error()), true
		}
		return fmt.Sprintf("the certificate of %s is not acceptable: %s", host, e.Error()), true
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate of %s is for another name (%s); use a name that it carries as the endpoint", host, e.Error()), true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Sprintf("%s does not speak TLS; write http:// in the endpoint if plain text is meant", host), true
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("the certificate of %s cannot be verified: %v", host, e.Err), true
	}
	return "", false
}
