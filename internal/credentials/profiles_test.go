package credentials

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ssmagent/internal/sigv4"
)

const role = "arn:aws:iam::123456789012:role/app"

// tokenService is an STS: it wants its signature by who, whose secret is
// "secret", or none and a token, and says which role it gave to whom.
func tokenService(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		q, err := url.ParseQuery(string(body))
		if err != nil || r.Method != http.MethodPost || q.Get("Version") != "2011-06-15" || q.Get("RoleSessionName") == "" {
			t.Errorf("%s %s, %v", r.Method, body, err)
		}
		who, result := "token:"+q.Get("WebIdentityToken"), "AssumeRoleWithWebIdentityResult"
		if q.Get("Action") == "AssumeRole" {
			sig, err := sigv4.Parse(r)
			if err != nil || sig.Service != "sts" || !(sig.Verify(r, body, "secret") || sig.Verify(r, body, "s")) {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>no\x1b[2J</Message></Error></ErrorResponse>")
				return
			}
			who, result = sig.CredentialID+"@"+sig.Region, "AssumeRoleResult"
		}
		_, name, _ := strings.Cut(q.Get("RoleArn"), "role/")
		if name == "denied" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%s><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey>`+
			`<SessionToken>t</SessionToken><Expiration>2026-01-02T04:04:05.123Z</Expiration></Credentials></%s></R>`,
			result, name+q.Get("ExternalId")+q.Get("DurationSeconds")+"~"+who, result)
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	const arn = "role_arn = " + role + "\n"
	const export = "aws configure export-credentials --profile default --format process"
	for name, tc := range map[string]struct {
		config, credentials string
		id, says            string
	}{
		"static":               {"", "[default]\n" + keys("K"), "K", ""},
		"static in config":     {"[default]\n" + keys("K"), "", "K", ""},
		"credentials first":    {"[default]\n" + keys("C") + "aws_session_token = old\n", "[default]\n" + keys("K"), "K", ""},
		"profile default":      {"[default]\n" + keys("D") + "[profile default]\n" + keys("P"), "", "P", ""},
		"half a key":           {"[default]\naws_access_key_id = K\n", "", "", "profile default has aws_access_key_id without aws_secret_access_key"},
		"halves in two files":  {"[default]\naws_secret_access_key = s\n", "[default]\naws_access_key_id = K\n", "", "aws_access_key_id without aws_secret_access_key in /home/u/.aws/credentials"},
		"token of the other":   {"[default]\naws_session_token = t\n" + keys("C"), "[default]\n" + keys("K"), "K", ""},
		"other half":           {"[default]\naws_secret_access_key = K\n", "", "", "without aws_access_key_id"},
		"blank in key":         {"[default]\naws_access_key_id = K\n  L\naws_secret_access_key = s\n", "", "", "must be plain text"},
		"process":              {"[default]\ncredential_process = give me\n", "", "PROC", ""},
		"process, no version":  {"[default]\ncredential_process = old\n", "", "", `must have "Version": 1`},
		"process, no JSON":     {"[default]\ncredential_process = html\n", "", "", "is not the JSON it should be"},
		"process fails":        {"[default]\ncredential_process = fail\n", "", "", "credential_process of profile default: exit status 255"},
		"login by CLI":         {"[default]\nsso_session = x\n[sso-session x]\nsso_region = r\n", "", "", "run `aws sso login --profile default`"},
		"no CLI":               {"[profile default]\nlogin_session = x\n[default]\n", "", "", "run `aws sso login"},
		"role":                 {"[default]\n" + arn + "source_profile = s\n[profile s]\n" + keys("S"), "", "app~S@us-east-1", ""},
		"role, all options":    {"[default]\n" + arn + "source_profile = s\nexternal_id = X\nduration_seconds = 900\nregion = eu-west-1\n[profile s]\n" + keys("S"), "", "appX900~S@eu-west-1", ""},
		"role by itself":       {"[default]\n" + arn + "source_profile = default\n", "[default]\n" + keys("S"), "app~S@us-east-1", ""},
		"role by own keys":     {"[default]\n" + arn + keys("S"), "", "app~S@us-east-1", ""},
		"role by process":      {"[default]\n" + arn + "credential_process = give me\n", "", "app~PROC@us-east-1", ""},
		"role of a role":       {"[default]\n" + arn + "source_profile = m\n[profile m]\nrole_arn = " + role + "2\nsource_profile = s\n", "[s]\n" + keys("S"), "app~app2~S@us-east-1@us-east-1", ""},
		"role in a circle":     {"[default]\n" + arn + "source_profile = m\n[profile m]\n" + arn + "source_profile = default\n", "", "", "the profiles default, m, default name each other"},
		"role without source":  {"[default]\n" + arn, "", "", "neither source_profile nor credential_source nor"},
		"role with two":        {"[default]\n" + arn + "source_profile = s\ncredential_source = Environment\n[profile s]\n" + keys("S"), "", "", "both source_profile and credential_source"},
		"role, unknown source": {"[default]\n" + arn + "source_profile = s\n[s]\n" + keys("S"), "", "", "must be called [profile s]"},
		"role, empty source":   {"[default]\n" + arn + "source_profile = s\n[profile s]\n", "", "", "profile s has no credentials"},
		"role by environment":  {"[default]\n" + arn + "credential_source = Environment\n", "", "", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"},
		"role by container":    {"[default]\n" + arn + "credential_source = EcsContainer\n", "", "", "neither AWS_CONTAINER"},
		"role by instance":     {"[default]\n" + arn + "credential_source = Ec2InstanceMetadata\n", "", "app~I@us-east-1", ""},
		"role by nonsense":     {"[default]\n" + arn + "credential_source = x\n", "", "", "must be Environment, EcsContainer or"},
		"role denied":          {"[default]\nrole_arn = arn:aws:iam::123456789012:role/denied\nsource_profile = s\n[profile s]\n" + keys("S"), "", "", "AccessDenied: not you"},
		"role, wrong key":      {"[default]\n" + arn + "source_profile = s\n[profile s]\naws_access_key_id = S\naws_secret_access_key = wrong\n", "", "", "HTTP 403: <ErrorResponse>"},
		"role, no ARN":         {"[default]\nrole_arn = app\nsource_profile = s\n[profile s]\n" + keys("S"), "", "", `"app" is not a role like`},
		"role, duration":       {"[default]\n" + arn + "duration_seconds = 60\nsource_profile = s\n[profile s]\n" + keys("S"), "", "", "from 900 to 43200"},
		"MFA":                  {"[default]\n" + arn + "source_profile = s\nmfa_serial = m\n[profile s]\n" + keys("S"), "", "", "asks for an MFA code"},
		"web identity":         {"[default]\n" + arn + "web_identity_token_file = /token\n", "", "app~token:jwt", ""},
		"web identity, gone":   {"[default]\n" + arn + "web_identity_token_file = /gone\n", "", "", "web identity token: open /gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{files: map[string]string{"/home/u/.aws/config": tc.config, "/home/u/.aws/credentials": tc.credentials, "/token": "jwt\n"},
				programs: map[string]string{"sh -c give me": printed("PROC"), "sh -c old": answered("PROC"), "sh -c html": "<html>", "sh -c fail": "", export: ""}}
			f.net = sites(map[string]http.HandlerFunc{"sts.amazonaws.com": tokenService(t), "sts.eu-west-1.amazonaws.com": tokenService(t)})
			if name == "role by instance" {
				f.net = sites(map[string]http.HandlerFunc{"sts.amazonaws.com": tokenService(t), "169.254.169.254": instance("I")})
			}
			got := expect(t, f.chain(t, Options{}), tc.id, tc.says)
			if tc.id == "K" && got.Credentials.SessionToken != "" {
				t.Errorf("%s with the token of another key", tc.id)
			}
		})
	}
}

// TestBrowserLogin is for the AWS CLI, where there is one.
func TestBrowserLogin(t *testing.T) {
	t.Parallel()
	files := map[string]string{"/home/u/.aws/config": "[profile a b]\nsso_session = x\n[sso-session x]\nsso_region = r\n"}
	line := "aws configure export-credentials --profile a b --format process"
	f := &fake{files: files, programs: map[string]string{line: printed("SSO")}}
	got := expect(t, f.chain(t, Options{Profile: "a b"}), "SSO", "")
	if got.Credentials.SessionToken != "t" || !got.Credentials.CanExpire || len(f.ran) != 1 {
		t.Errorf("%+v, ran %q", got.Credentials.Source, f.ran)
	}
	f = &fake{files: files}
	expect(t, f.chain(t, Options{Profile: "a b"}), "", "and it is not installed; install it, or set AWS_ACCESS_KEY_ID")
}

func TestWebIdentityOfEnvironment(t *testing.T) {
	t.Parallel()
	f := &fake{files: map[string]string{"/token": "jwt"}, env: map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": role,
		"AWS_ENDPOINT_URL_STS": "https://sts.here:8443/"}, net: sites(map[string]http.HandlerFunc{"sts.here:8443": tokenService(t)})}
	if got := expect(t, f.chain(t, Options{}), "app~token:jwt", ""); !got.Reports[1].Won {
		t.Errorf("%+v", got.Reports)
	}
	f.env["AWS_ENDPOINT_URL_STS"] = "sts.here"
	expect(t, f.chain(t, Options{}), "", "is not a URL like https://host:port")
}
