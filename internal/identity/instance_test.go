package identity

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
)

const ec2ID = "i-0123456789abcdef0"

// given is a provider of credentials, or of err.
func given(id string, err error) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(6 * time.Hour)}, err
	})
}

// hosts answers calls of default host management and records them.
type hosts struct{ calls []string }

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if proof := r.Header["SSM-AsymmetricKeyAuthorization"]; len(proof) == 1 && strings.HasPrefix(proof[0], "Signature=") { //nolint:staticcheck // as stock agents write it
		op += " proved"
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=HOST/") {
		op += " by somebody else"
	}
	h.calls = append(h.calls, op)
	body := `{"AccessKeyId":"ROLE","SecretAccessKey":"s","SessionToken":"t","TokenExpirationDate":4102444800}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestInstanceProvider: the instance profile where it may speak for the node;
// default host management where there is none or it may not; nothing else where
// nobody knows.
func TestInstanceProvider(t *testing.T) {
	t.Parallel()
	register, ask := "RegisterManagedInstance", "RequestManagedInstanceRoleToken proved"
	for name, tc := range map[string]struct {
		profile, ping error
		source, calls string
		wait          time.Duration // at least, after a failure
	}{
		"instance profile":    {nil, nil, SourceEC2, "", 0},
		"no instance profile": {errors.New("404"), nil, SourceSSM, register + ", " + ask, 0},
		"it may not":          {nil, &ssmclient.Error{Code: ssmclient.AccessDenied}, SourceSSM, register + ", " + ask, 0},
		"no answer":           {nil, &ssmclient.Unreachable{Reason: "cut"}, "", "", 299 * time.Second},
		"some other refusal":  {nil, &ssmclient.Error{Code: "InternalServerError", Status: 500}, "", "", 299 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, s := new(hosts), newService(t)
				o := Options{Identity: Identity{ec2ID, "eu-west-1", "EC2"}, Vault: vault.New(newDisk(t), data), Endpoint: "http://ssm.test", Region: "eu-west-1",
					HTTP: &http.Client{Transport: h}, Clock: clock.Real{}, Log: quiet(), Skew: &ssmclient.Skew{}, newKey: keys(s)}
				tried := ""
				ping := func(ctx context.Context, p aws.CredentialsProvider) error {
					c, err := p.Retrieve(ctx)
					if err != nil {
						t.Error(err)
					}
					tried = c.AccessKeyID
					return tc.ping
				}
				cloud := Cloud{InstanceProfile: given("PROFILE", tc.profile), HostRole: given("HOST", nil)}
				p := NewInstanceProvider(o, cloud, ping)
				c, err := p.Credentials(t.Context())
				if c.Source != tc.source || (err == nil) != (tc.source != "") || (tried == "PROFILE") != (tc.profile == nil) {
					t.Errorf("%+v, %v, tried %q", c, err, tried)
				}
				if got := strings.Join(h.calls, ", "); got != tc.calls {
					t.Errorf("calls %q, want %q", got, tc.calls)
				}
				if tc.source == SourceEC2 && time.Until(c.Expires) > time.Hour {
					t.Errorf("trusted until %v", c.Expires)
				}
				if wait := p.untilDue(); err != nil && (wait < tc.wait || wait > 301*time.Second) {
					t.Errorf("again in %v", wait)
				}
				if tc.source != SourceSSM {
					return
				}
				h.calls = nil // the next agent has the key
				if _, err := NewInstanceProvider(o, cloud, ping).Credentials(t.Context()); err != nil || strings.Join(h.calls, ", ") != ask {
					t.Errorf("%v, %q", err, h.calls)
				}
				h.calls, o.Identity.InstanceID = nil, "i-0aaaaaaaaaaaaaaaa" // a machine made of this one's disk
				if _, err := NewInstanceProvider(o, cloud, ping).Credentials(t.Context()); err != nil || strings.Join(h.calls, ", ") != register+", "+ask {
					t.Errorf("%v, %q", err, h.calls)
				}
			})
		})
	}
}
