package auth

import (
	"encoding/xml"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
)

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

// STS serves GetCallerIdentity of the Security Token Service: the query
// protocol, POST of a form, answers in XML.
type STS struct {
	Verify func(*http.Request, []byte) (api.Caller, *api.Error)
	Log    *slog.Logger
}

type identity struct {
	XMLName   xml.Name `xml:"GetCallerIdentityResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Arn       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type stsError struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// ServeHTTP implements http.Handler.
func (s STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set("X-Amzn-RequestId", id)
	c, err := s.caller(w, r)
	if err != nil {
		s.Log.Debug("refused", "request", id, "code", err.Code, "message", err.Message)
		kind := "Sender"
		if err.HTTPStatus() >= 500 {
			kind = "Receiver"
		}
		writeXML(w, err.HTTPStatus(), stsError{Namespace: stsNamespace, Type: kind, Code: err.Code, Message: err.Message, RequestID: id})
		return
	}
	writeXML(w, http.StatusOK, identity{Namespace: stsNamespace, Arn: c.ARN, UserID: c.UserID, Account: c.Account, RequestID: id})
}

func (s STS) caller(w http.ResponseWriter, r *http.Request) (api.Caller, *api.Error) {
	body, err := api.ReadBody(w, r)
	if err != nil {
		return api.Caller{}, &api.Error{Code: "RequestEntityTooLarge", Message: "the form is too large", Status: http.StatusRequestEntityTooLarge}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return api.Caller{}, api.Errorf("MalformedQueryString", "the body is no form")
	}
	if form.Get("Action") != "GetCallerIdentity" || form.Get("Version") != "2011-06-15" {
		return api.Caller{}, api.Errorf("InvalidAction", "Action %q of Version %q is not known here: only GetCallerIdentity of 2011-06-15", api.Clip(form.Get("Action"), 64), api.Clip(form.Get("Version"), 64))
	}
	c, refusal := s.Verify(r, body)
	if refusal != nil {
		return c, stsCode(refusal)
	}
	if c.Kind == api.Anonymous {
		return c, &api.Error{Code: "MissingAuthenticationToken", Message: "GetCallerIdentity needs a signed request: configure an access key", Status: http.StatusForbidden}
	}
	return c, nil
}

// stsCode gives a refusal the code and status that this protocol has for it.
func stsCode(e *api.Error) *api.Error {
	codes := map[string]string{
		"InvalidSignatureException":    "SignatureDoesNotMatch",
		"UnrecognizedClientException":  "InvalidClientTokenId",
		"IncompleteSignatureException": "IncompleteSignature",
		"ExpiredTokenException":        "ExpiredToken",
		api.CodeAccessDenied:           "AccessDenied",
	}
	if code, ok := codes[e.Code]; ok {
		return &api.Error{Code: code, Message: e.Message, Status: http.StatusForbidden}
	}
	return e
}

func writeXML(w http.ResponseWriter, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, "InternalFailure", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
