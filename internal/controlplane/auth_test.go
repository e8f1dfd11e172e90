package controlplane

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"ssmagent/internal/sigv4"
)

func TestSignatures(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	op := p.operator()
	n := p.register(&ssm.CreateActivationInput{})
	wrongSecret, unknown, mixed, foreign := op, op, op, n.Credentials
	wrongSecret.SecretAccessKey += "x"
	unknown.AccessKeyID = "AKIAEXAMPLEEXAMPLE00"
	mixed.SessionToken = n.SessionToken
	foreign.SessionToken = strings.Replace(foreign.SessionToken, foreign.SessionToken[40:44], "AAAA", 1)
	sign := func(c aws.Credentials, service string, off time.Duration, change func(*http.Request)) answer {
		t.Helper()
		const body = "{}"
		r := p.request("AmazonSSM.DescribeActivations", body)
		if err := sigv4.Sign(t.Context(), r, []byte(body), c, service, "eu-west-1", time.Now().Add(off)); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		return p.send(r)
	}
	for _, tc := range []struct {
		name    string
		c       aws.Credentials
		service string
		off     time.Duration
		change  func(*http.Request)
		code    string
		says    string
	}{
		{"right", op, "ssm", 0, nil, "", ""},
		{"right, 4 minutes off", op, "ssm", -4 * time.Minute, nil, "", ""},
		{"clock an hour behind", op, "ssm", -time.Hour, nil, "InvalidSignatureException", "behind the control plane's"},
		{"clock an hour ahead", op, "ssm", time.Hour, nil, "InvalidSignatureException", "ahead of the control plane's"},
		{"wrong secret", wrongSecret, "ssm", 0, nil, "InvalidSignatureException", "secret access key"},
		{"unknown key", unknown, "ssm", 0, nil, "UnrecognizedClientException", "credentials file"},
		{"token of another key", mixed, "ssm", 0, nil, "UnrecognizedClientException", "token"},
		{"token changed", foreign, "ssm", 0, nil, "UnrecognizedClientException", "token"},
		{"other service", op, "ec2messages", 0, nil, "InvalidSignatureException", `needs "ssm"`},
		{"body changed", op, "ssm", 0, func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 }, "InvalidSignatureException", "does not fit"},
		{"operation changed", op, "ssm", 0, func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSSM.ListDocuments") }, "InvalidSignatureException", "does not fit"},
		{"no credential", op, "ssm", 0, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Signature=ab") }, "IncompleteSignatureException", "malformed"},
		{"basic", op, "ssm", 0, func(r *http.Request) { r.SetBasicAuth("a", "b") }, "IncompleteSignatureException", "malformed"},
	} {
		a := sign(tc.c, tc.service, tc.off, tc.change)
		if tc.code == "" {
			if a.status != 200 {
				t.Errorf("%s: %d %s", tc.name, a.status, a.body)
			}
			continue
		}
		if a.status != 400 || a.Type != tc.code || !strings.Contains(a.Message, tc.says) {
			t.Errorf("%s: %d %s, want %s with %q", tc.name, a.status, a.body, tc.code, tc.says)
		}
	}
	a := sign(op, "ssm", -time.Hour, nil)
	if !strings.Contains(a.Message, "360") || !strings.Contains(a.Message, "set the clock") {
		t.Errorf("a wrong clock is answered with %q, which tells neither seconds nor remedy", a.Message)
	}
}

func TestNodeTokens(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{})
	const body = `{"Fingerprint":"c0ffee00-1111-4222-8333-444455556666"}`
	stranger, err := sigv4.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other := n
	other.key = stranger
	if a := p.keyCall(other, "AmazonSSM.RequestManagedInstanceRoleToken", body, time.Now()); a.Type != "InvalidSignatureException" {
		t.Errorf("another key: %s", a.body)
	}
	if a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", body, time.Now().Add(-time.Hour)); a.Type != "InvalidSignatureException" || !strings.Contains(a.Message, "behind") {
		t.Errorf("an hour behind: %s", a.body)
	}
	unknown := n
	unknown.id = "mi-00000000000000000"
	if a := p.keyCall(unknown, "AmazonSSM.RequestManagedInstanceRoleToken", body, time.Now()); a.Type != "AccessDeniedException" {
		t.Errorf("unknown node: %s", a.body)
	}
	// The node's key serves its two calls only.
	if a := p.keyCall(n, "AmazonSSM.ListInstanceAssociations", `{"InstanceId":"`+n.id+`"}`, time.Now()); a.Type != "AccessDeniedException" {
		t.Errorf("node key for another call: %s", a.body)
	}
	p.clock.advance(61 * time.Minute)
	if a := p.call(n.Credentials, "AmazonSSM.ListInstanceAssociations", `{"InstanceId":"`+n.id+`"}`); a.Type != "ExpiredTokenException" || !strings.Contains(a.Message, "new one") {
		t.Errorf("an expired token: %s", a.body)
	}
}

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	out, err := sts.NewFromConfig(p.config()).GetCallerIdentity(t.Context(), nil)
	if err != nil || *out.Account != "111122223333" || *out.Arn != "arn:aws:iam::111122223333:user/default" || *out.UserId != p.operator().AccessKeyID {
		t.Errorf("%+v %v", out, err)
	}
	cfg := p.config()
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAEXAMPLEEXAMPLE00", SecretAccessKey: "x"}, nil
	})
	_, err = sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	var re *smithyhttp.ResponseError
	if code(err) != "InvalidClientTokenId" || !errors.As(err, &re) || re.HTTPStatusCode() != 403 {
		t.Errorf("unknown key: %v", err)
	}
	for body, want := range map[string]string{
		"Action=GetCallerIdentity&Version=2011-06-15": "MissingAuthenticationToken",
		"Action=AssumeRole&Version=2011-06-15":        "InvalidAction",
		"%zz":                                         "MalformedQueryString",
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a := p.send(r); !strings.Contains(a.body, "<Code>"+want+"</Code>") || a.status < 400 || a.header.Get("Content-Type") != "text/xml" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for _, tc := range []struct {
		name, host, header, value string
		want                      int
	}{
		{"as it is", "", "", "", 400},
		{"localhost", "localhost:1", "", "", 400},
		{"IPv6 loopback", "[::1]:1", "", "", 400},
		{"rebound name", "evil.example:80", "", "", 403},
		{"rebound name without a port", "evil.example", "", "", 403},
		{"address of the network", "192.0.2.1:80", "", "", 403},
		{"web page", "", "Origin", "http://evil.example", 403},
		{"web page of loopback", "", "Origin", "http://localhost:3000", 403},
		{"opaque page", "", "Origin", "null", 403},
		{"no cors", "", "Sec-Fetch-Site", "cross-site", 403},
	} {
		r := p.request("AmazonSSM.NoSuchThing", "{}")
		r.Host = tc.host
		if tc.header != "" {
			r.Header.Set(tc.header, tc.value)
		}
		if a := p.send(r); a.status != tc.want || a.Message == "" {
			t.Errorf("%s: %d %s, want %d", tc.name, a.status, a.body, tc.want)
		}
	}
}

// TestTenMegabytes: what is too large gets an AWS error, not a broken
// connection.
func TestTenMegabytes(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	big := strings.Repeat("x", 10<<20)
	_, err := p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Big"), Content: &big})
	if code(err) != "MaxDocumentSizeExceeded" {
		t.Errorf("%.300v, want MaxDocumentSizeExceeded", err)
	}
	half := strings.Repeat("x", 65<<10)
	_, err = p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Big"), Content: &half})
	if code(err) != "MaxDocumentSizeExceeded" {
		t.Errorf("%.300v, want MaxDocumentSizeExceeded", err)
	}
	r := p.request("AmazonSSM.PutInventory", big)
	r.Body = struct{ *bodyReader }{&bodyReader{bytes.NewReader([]byte(big))}}
	r.ContentLength = -1 // chunked
	if a := p.send(r); a.status != http.StatusRequestEntityTooLarge || a.Type == "" {
		t.Errorf("%d %.300s", a.status, a.body)
	}
}

type bodyReader struct{ *bytes.Reader }

func (bodyReader) Close() error { return nil }
