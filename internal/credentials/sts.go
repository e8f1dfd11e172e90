package credentials

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/config"
	"ssmagent/internal/sigv4"
)

const (
	stsTimeout = 15 * time.Second
	// stsGlobal is for who names no region.
	stsGlobal, stsGlobalRegion = "https://sts.amazonaws.com", "us-east-1"
)

// assumed is the answer to either call.
type assumed struct {
	Role  *tokens `xml:"AssumeRoleResult>Credentials"`
	Token *tokens `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
}

type tokens struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

type stsError struct {
	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

// assume asks for p's role with base.
func (c *Chain) assume(ctx context.Context, base aws.Credentials, p *profile) (aws.Credentials, error) {
	q := url.Values{"Action": {"AssumeRole"}, "RoleArn": {p.value("role_arn")}, "RoleSessionName": {c.sessionName(p.value("role_session_name"))}}
	if id := p.value("external_id"); id != "" {
		q.Set("ExternalId", id)
	}
	if d := p.value("duration_seconds"); d != "" {
		if n, err := strconv.Atoi(d); err != nil || n < 900 || n > 43200 {
			return aws.Credentials{}, errors.New("duration_seconds must be a number from 900 to 43200")
		}
		q.Set("DurationSeconds", d)
	}
	return c.sts(ctx, q, &base)
}

// webIdentity assumes the role of the environment with the token of the file
// that it names.
func (c *Chain) webIdentity(ctx context.Context) (aws.Credentials, error) {
	file, role := c.m.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), c.m.Getenv("AWS_ROLE_ARN")
	switch {
	case c.explicit:
		return aws.Credentials{}, none("not asked: the profile %s was asked for", c.profile)
	case file == "":
		return aws.Credentials{}, none("AWS_WEB_IDENTITY_TOKEN_FILE is not set")
	case role == "":
		return aws.Credentials{}, errors.New("AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN")
	}
	return c.withToken(ctx, file, role, c.m.Getenv("AWS_ROLE_SESSION_NAME"))
}

// withToken asks for role with the token in file; such a call is not signed.
func (c *Chain) withToken(ctx context.Context, file, role, session string) (aws.Credentials, error) {
	b, err := c.m.ReadFile(file)
	switch {
	case err != nil:
		return aws.Credentials{}, fmt.Errorf("web identity token: %w", err)
	case len(b) > maxAnswer:
		return aws.Credentials{}, fmt.Errorf("web identity token: %s is larger than %d bytes", file, maxAnswer)
	}
	return c.sts(ctx, url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role},
		"RoleSessionName": {c.sessionName(session)}, "WebIdentityToken": {strings.TrimSpace(string(b))}}, nil)
}

func (c *Chain) sessionName(given string) string {
	return first(given, "ssmagent-"+strconv.FormatInt(c.m.Clock.Now().UnixNano(), 10))
}

// sts makes the call q, signed with base if there is one.
func (c *Chain) sts(ctx context.Context, q url.Values, base *aws.Credentials) (aws.Credentials, error) {
	role := q.Get("RoleArn")
	if !regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$`).MatchString(role) {
		return aws.Credentials{}, fmt.Errorf("%q is not a role like arn:aws:iam::123456789012:role/name", printable(role))
	}
	endpoint, region, err := c.stsEndpoint()
	if err != nil {
		return aws.Credentials{}, err
	}
	q.Set("Version", "2011-06-15")
	body := q.Encode()
	b, err := c.call(ctx, c.HTTP, stsTimeout, func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		if base == nil {
			return r, nil
		}
		return r, sigv4.Sign(ctx, r, []byte(body), *base, "sts", region, c.m.Clock.Now())
	}, stsRefusal)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s of %s at %s: %w", q.Get("Action"), role, endpoint, err)
	}
	return roleOf(b, "role "+role)
}

func (c *Chain) stsEndpoint() (endpoint, region string, err error) {
	if given := first(c.m.Getenv("AWS_ENDPOINT_URL_STS"), c.m.Getenv("AWS_ENDPOINT_URL")); given != "" &&
		!strings.EqualFold(c.m.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
			return "", "", errors.New("AWS_ENDPOINT_URL_STS is not a URL like https://host:port")
		}
		return strings.TrimRight(given, "/"), first(c.Region, stsGlobalRegion), nil
	}
	if c.Region == "" {
		return stsGlobal, stsGlobalRegion, nil
	}
	endpoint, err = config.Default().Endpoint("sts", c.Region)
	return endpoint, c.Region, err
}

// stsRefusal says what the service said.
func stsRefusal(status int, b []byte) error {
	var e stsError
	if xml.Unmarshal(b, &e) != nil || e.Code == "" {
		return fmt.Errorf("HTTP %d: %s", status, printable(string(b)))
	}
	return fmt.Errorf("%s: %s", printable(e.Code), printable(e.Message))
}

// roleOf reads the answer to either call.
func roleOf(b []byte, source string) (aws.Credentials, error) {
	var a assumed
	if err := xml.Unmarshal(b, &a); err != nil {
		return aws.Credentials{}, fmt.Errorf("%s: the answer is not the XML it should be; is the endpoint right?", source)
	}
	t := a.Role
	if t == nil {
		t = a.Token
	}
	if t == nil || t.Expiration == "" || t.SessionToken == "" {
		return aws.Credentials{}, fmt.Errorf("%s: the answer has no credentials of a role; is the endpoint right?", source)
	}
	c, err := whole(t.AccessKeyID, t.SecretAccessKey, t.SessionToken, t.Expiration)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s: %w", source, err)
	}
	c.Source = source
	return c, nil
}
