package identity

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/fsys/fsystest"
)

// hostileTokens are answers to a token call that are none, and what is said.
func hostileTokens() map[string]string {
	const token = `{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","TokenExpirationDate":%s}`
	return map[string]string{
		"<html>sign in</html>": "not the JSON",
		"[]":                   "not the JSON",
		"null":                 "no usable credentials",
		"{}":                   "no usable credentials",
		`{"AccessKeyId":"A","SecretAccessKey":"S"`:                                          "not the JSON",
		`{"AccessKeyId":"A","SecretAccessKey":"S","TokenExpirationDate":32503680000}`:       "no usable credentials",
		`{"AccessKeyId":7,"SecretAccessKey":"S","SessionToken":"T"}`:                        "not the JSON",
		`{"AccessKeyId":"A","SecretAccessKey":"","SessionToken":"T"}`:                       "no usable credentials",
		`{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T"}`:                      "no usable credentials",
		fmt.Sprintf(token, `"soon"`):                                                        "not the JSON",
		fmt.Sprintf(token, `1`):                                                             "is the clock right",
		fmt.Sprintf(token, `-1e300`):                                                        "",
		fmt.Sprintf(token, `1e300`):                                                         "",
		fmt.Sprintf(token, `null`):                                                          "no usable credentials",
		strings.Repeat(" ", 9<<20):                                                          "larger than",
		`{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","UpdateKeyPair":"no"}`: "not the JSON",
	}
}

// TestHostileTokens: what is no token is said with a remedy, no credentials
// come of it, the ones at hand are used to their end, and nothing on disk is
// touched.
func TestHostileTokens(t *testing.T) {
	t.Parallel()
	for raw, says := range hostileTokens() {
		bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
			p := NewProvider(o)
			if _, err := p.Credentials(t.Context()); err != nil {
				t.Fatal(err)
			}
			was := content(t, disk)
			s.mu.Lock()
			s.raw = raw
			s.mu.Unlock()
			name := raw[:min(len(raw), 90)]
			if c, err := p.get(t.Context(), true); err == nil || !strings.Contains(err.Error(), says) || c.AccessKeyID != "" {
				t.Errorf("%s: %v, %v", name, c.AccessKeyID, err)
			}
			if c, err := p.Credentials(t.Context()); err != nil || c.AccessKeyID != "ASIAEXAMPLE" {
				t.Errorf("%s: the old ones are gone: %v", name, err)
			}
			after(2 * time.Hour)
			if c, err := p.Credentials(t.Context()); err == nil {
				t.Errorf("%s: %s", name, c.AccessKeyID)
			}
			for file, now := range content(t, disk) {
				if now != was[file] {
					t.Errorf("%s: %s was written", name, file)
				}
			}
		})
	}
}

// TestWrongRegion: a service of another region takes no signature; the error
// names region, endpoint and what to look at, and the registration stays.
func TestWrongRegion(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
		was := content(t, disk)
		o.Region = "eu-north-1"
		s.refusing(refuseOp(tokenOp, http.StatusForbidden, "InvalidSignatureException"))
		_, err := NewProvider(o).Credentials(t.Context())
		for _, want := range []string{"of region eu-west-1", "http://ssm.test", "signed for eu-north-1", "Ssm.Endpoint", "Agent.Region"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s is missing: %v", want, err)
			}
		}
		for file, now := range content(t, disk) {
			if now != was[file] {
				t.Errorf("%s was written", file)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	for raw := range hostileTokens() {
		if len(raw) < 1000 {
			f.Add(raw)
		}
	}
	s := newService(nil)
	o := Options{Identity: Identity{InstanceID: nodeID, Region: "eu-west-1"}, Endpoint: "http://ssm.test", Region: "eu-west-1", HTTP: s.http(), Clock: instant{}, Log: quiet()}
	f.Fuzz(func(t *testing.T, raw string) {
		if raw == "" {
			return
		}
		s.raw = raw
		c, _, err := o.token(t.Context(), pool()[0], "f")
		if err == nil && (c.AccessKeyID == "" || c.SecretAccessKey == "" || c.SessionToken == "" || time.Until(c.Expires) < margin) {
			t.Errorf("%+v of %q", c.Expires, raw)
		}
	})
}
