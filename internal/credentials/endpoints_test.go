package credentials

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

func TestContainer(t *testing.T) {
	t.Parallel()
	const relative, full, token, file = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
	good := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, answered("C"+r.Header.Get("Authorization")+r.URL.Path))
	}
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.170.2/elsewhere")
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	for name, tc := range map[string]struct {
		env      map[string]string
		site     string
		serve    http.HandlerFunc
		id, says string
	}{
		"relative":         {map[string]string{relative: "/x"}, "169.254.170.2", good, "C/x", ""},
		"relative, token":  {map[string]string{relative: "/x", token: "T"}, "169.254.170.2", good, "CT/x", ""},
		"token file first": {map[string]string{full: "http://[fd00:ec2::23]/x", token: "T", file: "/token"}, "[fd00:ec2::23]", good, "CF/x", ""},
		"EKS":              {map[string]string{full: "http://169.254.170.23/x"}, "169.254.170.23", good, "C/x", ""},
		"loopback":         {map[string]string{full: "http://localhost:81/x"}, "localhost:81", good, "C/x", ""},
		"https":            {map[string]string{full: "https://example.com/x"}, "example.com", good, "C/x", ""},
		"plain":            {map[string]string{full: "http://example.com/x"}, "example.com", good, "", "http:// is only for this machine"},
		"other link-local": {map[string]string{full: "http://169.254.169.254/x"}, "169.254.169.254", good, "", "http:// is only for this machine"},
		"no slash":         {map[string]string{relative: "@evil/x"}, "evil", good, "", "must begin with a slash"},
		"no URL":           {map[string]string{full: "x"}, "x", good, "", "is not a URL"},
		"lines in token":   {map[string]string{relative: "/x", token: "a\r\nb"}, "169.254.170.2", good, "", "must be one line"},
		"no token file":    {map[string]string{relative: "/x", file: "/gone"}, "169.254.170.2", good, "", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: open /gone"},
		"refused":          {map[string]string{relative: "/x"}, "169.254.170.2", status(403, "no\x1b[2J\nway"), "", "container endpoint 169.254.170.2: HTTP 403: no [2J way"},
		"redirect":         {map[string]string{relative: "/x"}, "169.254.170.2", status(302, ""), "", "HTTP 302"},
		"HTML":             {map[string]string{relative: "/x"}, "169.254.170.2", status(200, "<html>"), "", "is not the JSON it should be"},
		"large":            {map[string]string{relative: "/x"}, "169.254.170.2", status(200, strings.Repeat("x", maxAnswer+1)), "", "larger than"},
		"no key":           {map[string]string{relative: "/x"}, "169.254.170.2", status(200, `{"SecretAccessKey":"s"}`), "", "has no access key"},
		"line in key":      {map[string]string{relative: "/x"}, "169.254.170.2", status(200, `{"AccessKeyId":"a\nb","SecretAccessKey":"s"}`), "", "has characters that none has"},
		"expired":          {map[string]string{relative: "/x"}, "169.254.170.2", status(200, strings.Replace(answered("C"), "09:00", "03:00", 1)), "", "they expired at 2026-01-02T03:00:00Z"},
		"no time":          {map[string]string{relative: "/x"}, "169.254.170.2", status(200, strings.Replace(answered("C"), "09:00", "later", 1)), "", "Expiration in its answer is no time"},
		"error code":       {map[string]string{relative: "/x"}, "169.254.170.2", status(200, `{"Code":"AssumeRoleUnauthorizedAccess","Message":"no trust"}`), "", "it answers AssumeRoleUnauthorizedAccess: no trust"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{env: tc.env, files: map[string]string{"/token": "F"}, net: sites(map[string]http.HandlerFunc{tc.site: tc.serve})}
			expect(t, f.chain(t, Options{}), tc.id, tc.says)
		})
	}
}

func TestInstanceProfile(t *testing.T) {
	t.Parallel()
	answer := func(list, creds string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut:
				w.WriteHeader(http.StatusForbidden)
			case strings.HasSuffix(r.URL.Path, "/"):
				fmt.Fprint(w, list)
			default:
				fmt.Fprint(w, creds)
			}
		}
	}
	for name, tc := range map[string]struct {
		env      map[string]string
		site     string
		serve    http.HandlerFunc
		id, says string
	}{
		"version 2":   {nil, "169.254.169.254", instance("I"), "I", ""},
		"IPv6":        {map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv6"}, "[fd00:ec2::254]", instance("I"), "I", ""},
		"other place": {map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://here:1/"}, "here:1", instance("I"), "I", ""},
		"disabled":    {map[string]string{"AWS_EC2_METADATA_DISABLED": "TRUE"}, "169.254.169.254", instance("I"), "", "AWS_EC2_METADATA_DISABLED is true"},
		"version 1":   {nil, "169.254.169.254", answer("r", answered("ONE")), "ONE", ""},
		"no version 1": {map[string]string{"AWS_EC2_METADATA_V1_DISABLED": "true"}, "169.254.169.254", answer("r", answered("ONE")), "",
			"it gives no token (HTTP 403), and version 1 is disabled here"},
		"no profile": {nil, "else", nil, "", "the instance has no instance profile"},
		"no role":    {nil, "169.254.169.254", answer("\n", ""), "", "the instance profile has no role"},
		"HTML":       {nil, "169.254.169.254", answer("<html>", ""), "", "the name of the role is none"},
		"up":         {nil, "169.254.169.254", answer("../x", ""), "", "the name of the role is none"},
		"no JSON":    {nil, "169.254.169.254", answer("r", "<html>"), "", "role r of the instance profile, by version 1 of the instance metadata service, which is not secure: its answer is not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{env: tc.env, net: sites(map[string]http.HandlerFunc{tc.site: tc.serve})}
			expect(t, f.chain(t, Options{}), tc.id, tc.says)
		})
	}
}

// TestRetrieve renews ahead of the end, and uses the old ones while they last.
func TestRetrieve(t *testing.T) {
	t.Parallel()
	clk := clock.NewFake(now())
	asked, down := 0, false
	f := &fake{clk: clk, env: map[string]string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}}
	f.net = func(w http.ResponseWriter, _ *http.Request) {
		if down {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		asked++
		fmt.Fprintf(w, `{"AccessKeyId":"C%d","SecretAccessKey":"s","Token":"t","Expiration":%q}`, asked, clk.Now().Add(time.Hour).Format(time.RFC3339))
	}
	c := f.chain(t, Options{})
	for _, step := range []struct {
		after time.Duration
		down  bool
		id    string
	}{
		{0, false, "C1"}, {54 * time.Minute, false, "C1"}, {time.Minute, false, "C2"}, {58 * time.Minute, true, "C2"},
		{2 * time.Minute, true, ""}, {0, false, "C3"},
	} {
		clk.Advance(step.after)
		down = step.down
		got, err := c.Retrieve(t.Context())
		if got.AccessKeyID != step.id || (err != nil) != (step.id == "") {
			t.Fatalf("%+v: %q, %v", step, got.AccessKeyID, err)
		}
	}
}

// FuzzAnswer: whatever a service or program answers, what is taken from it
// fits into headers, and errors are one line without escape sequences.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{answered("I"), printed("P"), `{"Code":"x\u001b","Message":"y\n"}`, `<R><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-01-02T04:04:05Z</Expiration></Credentials></AssumeRoleResult></R>`, "<ErrorResponse><Error><Code>a</Code><Message>b</Message></Error></ErrorResponse>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		errs := []error{stsRefusal(403, b)}
		for _, read := range []func([]byte, string) (c struct{ id, secret, token string }, err error){
			func(b []byte, s string) (struct{ id, secret, token string }, error) {
				c, err := credentialsOf(b, s)
				return struct{ id, secret, token string }{c.AccessKeyID, c.SecretAccessKey, c.SessionToken}, err
			},
			func(b []byte, s string) (struct{ id, secret, token string }, error) {
				c, err := roleOf(b, s)
				return struct{ id, secret, token string }{c.AccessKeyID, c.SecretAccessKey, c.SessionToken}, err
			},
		} {
			c, err := read(b, "source")
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if c.id == "" || c.secret == "" || strings.ContainsFunc(c.id+c.secret+c.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q", c)
			}
		}
		for _, err := range errs {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q", err)
			}
		}
	})
}
