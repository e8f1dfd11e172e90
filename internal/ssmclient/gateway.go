package ssmclient

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/mgs"
)

const (
	gatewayService = "ssmmessages"
	createTimeout  = 15 * time.Second
	dialTimeout    = 45 * time.Second
	maxCreate      = 64 << 10

	// DefaultReadLimit bounds a message of the gateway in bytes. It is far
	// above any document, so that a job too large is refused by its reader,
	// with words, and not by a closed socket.
	DefaultReadLimit = 16 << 20
)

// Gateway opens channels of the message gateway. Safe for concurrent use.
type Gateway struct {
	HTTP      *http.Client // nil: http.DefaultClient
	Endpoint  string       // http or https URL; the sockets use ws or wss
	Signer    Signer
	UserAgent string
	Clock     clock.Clock
	Skew      *Skew  // may be nil
	Reach     *Reach // may be nil
	ReadLimit int64  // bytes of a message; 0: DefaultReadLimit
}

// CreateControlChannel asks for a token to open a node's control channel. A
// refusal is an *Error; with Code AccessDenied the node should poll ec2messages.
func (g Gateway) CreateControlChannel(ctx context.Context, instanceID string) (token string, err error) {
	token, err = g.create(ctx, "control-channel", instanceID,
		mgs.CreateControlChannelRequest{MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString()})
	if err != nil {
		return "", fmt.Errorf("CreateControlChannel: %w", err)
	}
	return token, nil
}

// DialControlChannel connects the channel and sends its first message: open
// with token, and with schema version and request id where it has none.
func (g Gateway) DialControlChannel(ctx context.Context, instanceID, token string, open mgs.OpenControlChannel) (*websocket.Conn, error) {
	open.TokenValue = secret.Text(token)
	if open.MessageSchemaVersion == "" {
		open.MessageSchemaVersion = mgs.SchemaVersion
	}
	if open.RequestId == "" {
		open.RequestId = uuid.NewString()
	}
	conn, err := g.dial(ctx, "control-channel", instanceID, "role=subscribe&stream=input", open)
	if err != nil {
		return nil, fmt.Errorf("open control channel: %w", err)
	}
	return conn, nil
}

func (g Gateway) url(kind, id string) (string, error) {
	if id == "" || id == "." || id == ".." || len(id) > 512 {
		return "", fmt.Errorf("%q is not an id", clean(id))
	}
	return g.Endpoint + "/v1/" + kind + "/" + url.PathEscape(id), nil
}

func (g Gateway) create(ctx context.Context, kind, id string, in any) (string, error) {
	target, err := g.url(kind, id)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	send := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		return g.do(ctx, r, body)
	}
	before := g.Skew.Offset()
	resp, err := send()
	if err == nil && resp.StatusCode != http.StatusCreated && (g.Skew.Offset()-before).Abs() >= tolerance {
		resp.Body.Close() // signed with a clock that this answer has corrected
		resp, err = send()
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return token(g.Endpoint, resp)
}

func (g Gateway) do(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	r.Header.Set("User-Agent", g.UserAgent)
	if err := g.Signer.Sign(ctx, r, body, gatewayService); err != nil {
		return nil, err
	}
	sent := g.Clock.Now()
	resp, err := guarded(g.HTTP).Do(r)
	if err != nil {
		err = unreachable(g.Endpoint, err)
		g.Reach.Observe(err)
		return nil, err
	}
	g.Reach.Observe(nil)
	g.Skew.Observe(sent, g.Clock.Now(), resp.Header.Get("Date"))
	return resp, nil
}

func token(endpoint string, resp *http.Response) (string, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxCreate+1))
	if err != nil {
		return "", unreachable(endpoint, err)
	}
	if resp.StatusCode != http.StatusCreated {
		return "", gatewayRefusal(resp, answer)
	}
	var out mgs.CreateChannelResponse
	if len(answer) > maxCreate || xml.Unmarshal(answer, &out) != nil || out.TokenValue == "" {
		return "", fmt.Errorf("the answer of %s has no TokenValue; is it a message gateway?", endpoint)
	}
	return string(out.TokenValue), nil
}

func gatewayRefusal(resp *http.Response, body []byte) *Error {
	e := newError(resp)
	var w mgs.ErrorResponse
	if xml.Unmarshal(body, &w) == nil {
		e.Code, e.Message = clean(w.XMLName.Local), clean(w.Message)
	} else {
		j := refusal(resp, body)
		e.Code, e.Message = j.Code, j.Message
	}
	e.SessionOver = mgs.IsTerminated(body)
	// The stock agent looks for this text, wherever it stands.
	if strings.Contains(string(body), "<"+AccessDenied+">") {
		e.Code = AccessDenied
	}
	return e
}

func (g Gateway) dial(ctx context.Context, kind, id, query string, first any) (*websocket.Conn, error) {
	target, err := g.url(kind, id)
	if err != nil {
		return nil, err
	}
	// http becomes ws, https wss: the signature's host keeps a port 443.
	target = "ws" + strings.TrimPrefix(target, "http") + "?" + query
	hello, err := json.Marshal(first)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if err := g.Signer.Sign(ctx, r, nil, gatewayService); err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", g.UserAgent)
	conn, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{
		HTTPClient: guarded(g.HTTP), HTTPHeader: r.Header, Host: r.Host,
	})
	if err != nil {
		return nil, g.dialError(resp, err)
	}
	limit := g.ReadLimit
	if limit <= 0 {
		limit = DefaultReadLimit
	}
	conn.SetReadLimit(limit)
	if err := conn.Write(ctx, websocket.MessageText, hello); err != nil {
		return nil, errors.Join(unreachable(g.Endpoint, err), conn.CloseNow())
	}
	return conn, nil
}

// dialError tells a refused upgrade from no answer at all.
func (g Gateway) dialError(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return unreachable(g.Endpoint, err)
	}
	body, rerr := io.ReadAll(io.LimitReader(resp.Body, maxCreate))
	if rerr != nil {
		body = nil
	}
	return gatewayRefusal(resp, body)
}
