package agent

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"

	"ssmagent/internal/admin"
	"ssmagent/internal/config"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
)

// maxAnswer bounds what STS answers.
const maxAnswer = 64 << 10

// whoami asks STS whose the node's credentials are. Where the service is not
// AWS's, STS is asked for at the same address.
func (c caller) whoami(ctx context.Context) (admin.Caller, error) {
	endpoint, err := c.agent.cfg.Endpoint(config.ServiceSSM, c.id.Region)
	if err == nil && config.OfAWS(endpoint) {
		endpoint, err = c.agent.cfg.Endpoint("sts", c.id.Region)
	}
	if err != nil {
		return admin.Caller{}, err
	}
	creds, err := c.creds.Retrieve(ctx)
	if err != nil {
		return admin.Caller{}, fmt.Errorf("credentials: %w", err)
	}
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", strings.NewReader(body))
	if err != nil {
		return admin.Caller{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if err := sigv4.Sign(ctx, r, []byte(body), creds, "sts", c.id.Region, c.skew.Now(c.agent.opt.Clock)); err != nil {
		return admin.Caller{}, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return admin.Caller{}, ssmclient.Unanswered(endpoint, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return admin.Caller{}, ssmclient.Unanswered(endpoint, err)
	}
	who, err := callerOf(resp.StatusCode, b)
	if err != nil {
		return admin.Caller{}, fmt.Errorf("%s: %w", endpoint, err)
	}
	if creds.CanExpire {
		who.Expires = creds.Expires
	}
	return who, nil
}

// callerOf reads an answer to GetCallerIdentity.
func callerOf(status int, b []byte) (admin.Caller, error) {
	var a struct {
		Arn     string `xml:"GetCallerIdentityResult>Arn"`
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	err := xml.Unmarshal(b, &a)
	switch arn := ssmclient.Clean(a.Arn); {
	case a.Code != "":
		return admin.Caller{}, fmt.Errorf("%s: %s", ssmclient.Clean(a.Code), ssmclient.Clean(a.Message))
	case err != nil || arn == "" || status != http.StatusOK:
		return admin.Caller{}, fmt.Errorf("HTTP %d, and not an answer of STS; is the endpoint right?", status)
	default:
		return admin.Caller{Arn: arn}, nil
	}
}
