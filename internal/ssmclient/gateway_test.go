package ssmclient

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/clock"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/mgs"
)

const nodeID = "mi-0a1b2c3d4e5f60718"

func gateway(t *testing.T, endpoint string) Gateway {
	t.Helper()
	return Gateway{Endpoint: endpoint, Signer: keys(t), UserAgent: "amazon-ssm-agent/3.3.9000.0", Clock: clock.Real{}, Skew: &Skew{}}
}

func signedFor(t *testing.T, r *http.Request, body []byte, headers string) {
	t.Helper()
	sig, err := sigv4.Parse(r)
	if err != nil || !sig.Verify(r, body, "secret") || sig.Service != "ssmmessages" || strings.Join(sig.SignedHeaders, ";") != headers {
		t.Errorf("signature %+v, %v", sig, err)
	}
}

// TestControlChannel is worked example 10.12 over a real socket.
func TestControlChannel(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/control-channel/"+nodeID, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		signedFor(t, r, body, "content-type;host;x-amz-date;x-amz-security-token")
		var in mgs.CreateControlChannelRequest
		if err := json.Unmarshal(body, &in); err != nil || in.MessageSchemaVersion != "1.0" || len(in.RequestId) != 36 || len(body) != 81 {
			t.Errorf("%s, %v", body, err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "<CreateControlChannelResponse><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>tok-8f14e45f</TokenValue></CreateControlChannelResponse>")
	})
	mux.HandleFunc("GET /v1/control-channel/"+nodeID, func(w http.ResponseWriter, r *http.Request) {
		signedFor(t, r, nil, "host;x-amz-date;x-amz-security-token")
		if r.URL.RawQuery != "role=subscribe&stream=input" || r.Header.Get("Sec-Websocket-Protocol")+r.Header.Get("Sec-Websocket-Extensions") != "" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		kind, hello, err := conn.Read(r.Context())
		const want = `"TokenValue":"tok-8f14e45f","AgentVersion":"3.3.9000.0","PlatformType":"linux"}`
		if err != nil || kind != websocket.MessageText || !strings.HasPrefix(string(hello), `{"Cookie":null,"MessageSchemaVersion":"1.0","RequestId":"`) || !strings.HasSuffix(string(hello), want) {
			t.Errorf("%v %s, %v", kind, hello, err)
		}
		// 40 kB are more than the library lets through unasked.
		if err := conn.Write(r.Context(), websocket.MessageBinary, make([]byte, 40_000)); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	g := gateway(t, server.URL)
	g.HTTP = server.Client()
	token, err := g.CreateControlChannel(t.Context(), nodeID)
	if err != nil || token != "tok-8f14e45f" {
		t.Fatalf("%q, %v", token, err)
	}
	conn, err := g.DialControlChannel(t.Context(), nodeID, token, mgs.OpenControlChannel{AgentVersion: "3.3.9000.0", PlatformType: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if kind, b, err := conn.Read(t.Context()); err != nil || kind != websocket.MessageBinary || len(b) != 40_000 {
		t.Errorf("%v, %d bytes, %v", kind, len(b), err)
	}
}

func TestControlChannelRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status             int
		body, code, expect string
	}{
		"denied":         {403, "<AccessDeniedException><Message>no channel for you</Message></AccessDeniedException>", AccessDenied, "AccessDeniedException: no channel for you"},
		"denied, nested": {400, "<Response><Error><AccessDeniedException></AccessDeniedException></Error></Response>", AccessDenied, ""},
		"denied, broken": {400, "x <AccessDeniedException> y", AccessDenied, ""},
		"other":          {500, "<InternalServerError><Message>oops</Message></InternalServerError>", "InternalServerError", "oops"},
		"JSON":           {400, `{"__type":"ValidationException","message":"bad"}`, "ValidationException", "bad"},
		"200":            {200, "<R><TokenValue>t</TokenValue></R>", "R", ""},
		"no token":       {201, "<R></R>", "", "no TokenValue"},
		"no XML":         {201, "hello", "", "no TokenValue"},
		"too large":      {201, "<R><TokenValue>" + strings.Repeat("x", maxCreate) + "</TokenValue></R>", "", "no TokenValue"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := gateway(t, url).CreateControlChannel(t.Context(), nodeID)
			if err == nil || Code(err) != tc.code || !strings.Contains(err.Error(), tc.expect) {
				t.Errorf("create: code %q, %v", Code(err), err)
			}
			if tc.status == http.StatusCreated {
				return
			}
			_, err = gateway(t, url).DialControlChannel(t.Context(), nodeID, "t", mgs.OpenControlChannel{})
			if err == nil || Code(err) != tc.code {
				t.Errorf("dial: code %q, %v", Code(err), err)
			}
		})
	}
	for _, id := range []string{"", ".", "..", strings.Repeat("x", 600)} {
		if _, err := gateway(t, "http://127.0.0.1:1").CreateControlChannel(t.Context(), id); err == nil || !strings.Contains(err.Error(), "not an id") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestControlChannelClock(t *testing.T) {
	t.Parallel()
	calls := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		now := time.Now().Add(-time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		if sig, err := sigv4.Parse(r); err != nil || now.Sub(sig.Time).Abs() > 5*time.Minute {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "<R><TokenValue>t</TokenValue></R>")
	})
	g := gateway(t, url)
	s := keys(t)
	s.Skew = g.Skew
	g.Signer = s
	if _, err := g.CreateControlChannel(t.Context(), nodeID); err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		if _, _, err := conn.Read(r.Context()); err == nil {
			_ = conn.Write(r.Context(), websocket.MessageBinary, make([]byte, 5000))
		}
		_, _, _ = conn.Read(r.Context())
	})
	g := gateway(t, url)
	g.ReadLimit = 4000
	conn, err := g.DialControlChannel(t.Context(), nodeID, "t", mgs.OpenControlChannel{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, _, err := conn.Read(t.Context()); !errors.Is(err, websocket.ErrMessageTooBig) {
		t.Errorf("%v", err)
	}
}
