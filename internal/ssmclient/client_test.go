package ssmclient

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/ssm"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func client(endpoint string, h *http.Client) *Client {
	return &Client{
		HTTP: h, Endpoint: endpoint, Service: "ssm", TargetPrefix: ssm.TargetPrefix, UserAgent: "amazon-ssm-agent/3.3.9000.0",
		Clock: clock.Real{}, Log: quiet(), Skew: &Skew{}, Retry: NoRetry(),
	}
}

// serve answers one endpoint; everything ends with the test.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func keys(t *testing.T) CredentialsSigner {
	t.Helper()
	return CredentialsSigner{
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "token"}, nil
		}),
		Region: "eu-west-1", Clock: clock.Real{},
	}
}

// TestRequest is worked example 10.1 with a signature.
func TestRequest(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for k, want := range map[string]string{
			"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.UpdateInstanceInformation",
			"User-Agent": "amazon-ssm-agent/3.3.9000.0",
		} {
			if got := r.Header.Get(k); got != want {
				t.Errorf("%s: %q", k, got)
			}
		}
		if r.Method != http.MethodPost || r.URL.Path != "/" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		const want = `{"AgentName":"amazon-ssm-agent","AgentVersion":"3.3.0.0","InstanceId":"mi-0a1b2c3d4e5f60718","PlatformType":"Linux"}`
		if string(body) != want {
			t.Errorf("%s", body)
		}
		sig, err := sigv4.Parse(r)
		if err != nil || !sig.Verify(r, body, "secret") || sig.Service != "ssm" || sig.Token != "token" {
			t.Errorf("signature %+v, %v", sig, err)
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		if err := json.NewEncoder(z).Encode(ssm.RegisterManagedInstanceOutput{InstanceId: "mi-1"}); err != nil {
			t.Error(err)
		}
	})
	c := client(url, nil)
	c.Signer = keys(t)
	var out ssm.RegisterManagedInstanceOutput
	in := ssm.UpdateInstanceInformationInput{AgentName: "amazon-ssm-agent", AgentVersion: "3.3.0.0", InstanceId: "mi-0a1b2c3d4e5f60718", PlatformType: "Linux"}
	if err := c.Call(t.Context(), "UpdateInstanceInformation", in, &out); err != nil || out.InstanceId != "mi-1" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status  int
		headers map[string]string
		body    string
		code    string
		says    string
	}{
		"worked example": {400, map[string]string{"X-Amzn-RequestId": "7d0f"}, `{"__type":"MachineFingerprintDoesNotMatch","message":"fingerprint differs"}`,
			"MachineFingerprintDoesNotMatch", "op: MachineFingerprintDoesNotMatch: fingerprint differs (request 7d0f)"},
		"namespace":       {403, nil, `{"__type":"com.amazonaws.ssm#AccessDeniedException","Message":"no"}`, AccessDenied, "AccessDeniedException: no"},
		"header":          {400, map[string]string{"X-Amzn-ErrorType": "ThrottlingException:http://x"}, `{}`, "ThrottlingException", "Throttling"},
		"proxy":           {502, nil, "<html>\x1b[2J\nbad\tgateway</html>", "", "HTTP 502 Bad Gateway: <html> [2J bad gateway</html>"},
		"long":            {500, nil, strings.Repeat("x", 5000), "", "xxx…"},
		"nothing":         {503, nil, "", "", "HTTP 503 Service Unavailable"},
		"no JSON":         {200, nil, "<html>", "", "not the JSON it should be"},
		"too large":       {200, nil, `"` + strings.Repeat("x", 3000) + `"`, "", "larger than 2000 bytes"},
		"empty":           {200, nil, "", "", ""},
		"wrong JSON type": {200, nil, `{"InstanceId":7}`, "", "not the JSON it should be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tc.headers {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			c := client(url, nil)
			c.MaxResponse = 2000
			if name == "long" {
				c.MaxResponse = 0
			}
			var out ssm.RegisterManagedInstanceOutput
			err := c.Call(t.Context(), "op", nil, &out)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) || Code(err) != tc.code {
				t.Errorf("code %q, %v", Code(err), err)
			}
			if e, ok := errors.AsType[*Error](err); ok && (e.Status != tc.status || e.Date.IsZero()) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// answers plays a script of answers and notes when each was asked for.
func answers(t *testing.T, at *[]time.Duration, script ...func() (*http.Response, error)) *http.Client {
	t.Helper()
	start := time.Now()
	return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		*at = append(*at, time.Since(start))
		if len(*at) > len(script) {
			t.Error("asked too often")
			return nil, errors.New("script is over")
		}
		return script[len(*at)-1]()
	})}
}

func answer(status int, body string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func broken() (*http.Response, error) { return nil, errors.New("connection reset") }

func TestRetries(t *testing.T) {
	t.Parallel()
	ok, down := answer(200, "{}"), answer(503, "")
	for name, tc := range map[string]struct {
		script []func() (*http.Response, error)
		retry  Retry
		calls  int
		fails  bool
	}{
		"server and network": {[]func() (*http.Response, error){down, broken, answer(400, `{"__type":"ThrottlingException"}`), ok}, Retry{}, 4, false},
		"enough":             {[]func() (*http.Response, error){down, down, down, down}, Retry{}, 4, true},
		"final":              {[]func() (*http.Response, error){answer(400, `{"__type":"ValidationException"}`)}, Retry{}, 1, true},
		"not implemented":    {[]func() (*http.Response, error){answer(501, "")}, Retry{}, 1, true},
		"once":               {[]func() (*http.Response, error){down}, NoRetry(), 1, true},
		"token, refused":     {[]func() (*http.Response, error){down}, TokenRetry(), 1, true},
		"token, unreachable": {[]func() (*http.Response, error){broken, broken, broken, broken, broken, broken}, TokenRetry(), 6, true},
		"token, busy":        {[]func() (*http.Response, error){answer(400, `{"__type":"TooManyUpdates"}`), ok}, TokenRetry(), 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var at []time.Duration
				c := client("http://ssm.test", answers(t, &at, tc.script...))
				c.Retry = tc.retry
				err := c.Call(t.Context(), "op", nil, nil)
				if (err != nil) != tc.fails || len(at) != tc.calls {
					t.Fatalf("%d calls, %v", len(at), err)
				}
				if tc.retry.Again != nil {
					return
				}
				for n := 1; n < len(at); n++ { // 2^n times 1 to 1.5 s
					wait, least := at[n]-at[n-1], time.Second<<(n-1)
					if wait < least || wait >= least*3/2 {
						t.Errorf("retry %d after %v", n, wait)
					}
				}
			})
		})
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		var at []time.Duration
		start := time.Now()
		err := client("http://ssm.test", answers(t, &at, broken, broken, broken)).with(Retry{Delays: backoff.APIRetry(), Again: Retryable}).Call(ctx, "op", nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 1500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func (c *Client) with(r Retry) *Client { c.Retry = r; return c }

// TestAttemptTimesOut: each attempt has its own limit, and a service that
// hangs is a service that can be asked again.
func TestAttemptTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client("http://ssm.test", &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		c.Timeout, c.Retry = 20*time.Second, Retry{}
		start := time.Now()
		err := c.Call(t.Context(), "op", nil, nil)
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "no answer from ssm.test in time") || took < 87*time.Second || took > 91*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

type invalidated struct {
	CredentialsSigner

	n *int
}

func (i invalidated) Invalidate() { *i.n++ }

func TestExpiredTokenInvalidates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		n := 0
		c := client("http://ssm.test", answers(t, &at, answer(400, `{"__type":"ExpiredTokenException"}`), answer(200, "{}"))).with(Retry{})
		c.Signer = invalidated{keys(t), &n}
		if err := c.Call(t.Context(), "op", nil, nil); err != nil || n != 1 {
			t.Errorf("invalidated %d times, %v", n, err)
		}
	})
}

// TestClockOffByAnHour: the first refusal tells the time, the second attempt
// follows at once with it, and later calls need no correction.
func TestClockOffByAnHour(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		calls := 0
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			now := time.Now().Add(off)
			w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			sig, err := sigv4.Parse(r)
			if err != nil {
				t.Error(err)
			}
			if now.Sub(sig.Time).Abs() > 5*time.Minute {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"__type":"InvalidSignatureException","message":"Signature expired"}`)
			}
		})
		c := client(url, nil)
		s := keys(t)
		s.Skew = c.Skew
		c.Signer = s
		for range 2 {
			if err := c.Call(t.Context(), "op", nil, nil); err != nil {
				t.Fatalf("off by %v: %v", off, err)
			}
		}
		if got := c.Skew.Offset(); calls != 3 || (got-off).Abs() > 10*time.Second {
			t.Errorf("off by %v: %d calls, measured %v", off, calls, got)
		}
	}
}

// TestWrongKeyIsNoSkew: a refusal that no clock explains is not repeated.
func TestWrongKeyIsNoSkew(t *testing.T) {
	t.Parallel()
	calls := 0
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"__type":"InvalidSignatureException"}`)
	})
	c := client(url, nil)
	c.Signer = keys(t)
	if err := c.Call(t.Context(), "op", nil, nil); Code(err) != "InvalidSignatureException" || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestSkew(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 3, 14, 9, 26, 53, 0, time.UTC)
	for name, tc := range map[string]struct {
		date string
		took time.Duration
		want time.Duration
	}{
		"right":        {"Fri, 14 Mar 2025 09:26:53 GMT", time.Second, 0},
		"a little off": {"Fri, 14 Mar 2025 09:27:20 GMT", 0, 0},
		"behind":       {"Fri, 14 Mar 2025 10:26:53 GMT", 0, time.Hour + 500*time.Millisecond},
		"ahead":        {"Fri, 14 Mar 2025 08:26:53 GMT", time.Second, -time.Hour},
		"slow answer":  {"Fri, 14 Mar 2025 10:26:53 GMT", time.Minute, 0},
		"no date":      {"", 0, 0},
		"no sense":     {"yesterday", 0, 0},
	} {
		s := &Skew{}
		s.Observe(at, at.Add(tc.took), tc.date)
		if got := s.Offset(); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	var none *Skew
	none.Observe(at, at, "Fri, 14 Mar 2025 10:26:53 GMT")
	if none.Offset() != 0 {
		t.Error("no skew has an offset")
	}
	s := &Skew{}
	s.Observe(at, at, "Fri, 14 Mar 2025 10:26:53 GMT")
	s.Observe(at, at, "Fri, 14 Mar 2025 09:26:53 GMT")
	if s.Offset() != 0 {
		t.Error("a clock put right is still corrected")
	}
}

// TestExpiredCredentialsSignNothing: once the service's time is known, and by
// the local clock for who does not measure it.
func TestExpiredCredentialsSignNothing(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	unmeasured, ahead := new(Skew), new(Skew)
	ahead.Observe(now, now, now.Add(2*time.Hour).Format(http.TimeFormat))
	for name, tc := range map[string]struct {
		skew  *Skew
		left  time.Duration // by the local clock
		signs bool
	}{
		"valid": {nil, time.Minute, true}, "expired": {nil, 0, false}, "nothing is known yet": {unmeasured, -time.Hour, true},
		"expired by the service's time": {ahead, time.Hour, false}, "valid by the service's time": {ahead, 3 * time.Hour, true},
	} {
		s := CredentialsSigner{Region: "us-east-1", Clock: clock.NewFake(now), Skew: tc.skew, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "A", SecretAccessKey: "s", CanExpire: true, Expires: now.Add(tc.left)}, nil
		})}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://ssm.example/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sign(t.Context(), r, nil, "ssm"); (err == nil) != tc.signs || (r.Header.Get("Authorization") != "") != tc.signs {
			t.Errorf("%s: %v", name, err)
		}
	}
}
