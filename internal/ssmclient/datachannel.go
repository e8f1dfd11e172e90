package ssmclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"ssmagent/internal/secret"
	"ssmagent/internal/socket"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// CreateDataChannel asks for a token to open the agent's side of a session. A
// refusal is an *Error; when SessionOver is set no other attempt can help.
func (g Gateway) CreateDataChannel(ctx context.Context, sessionID string) (token string, err error) {
	token, err = g.create(ctx, "data-channel", sessionID,
		mgs.CreateDataChannelRequest{MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString()})
	if err != nil {
		return "", fmt.Errorf("CreateDataChannel: %w", err)
	}
	return token, nil
}

// DialDataChannel connects the agent's side of a session and sends its first
// message, which has token and the node's id. ctx bounds this only.
func (g Gateway) DialDataChannel(ctx context.Context, sessionID, token, instanceID string) (*socket.Conn, error) {
	conn, err := g.dialData(ctx, sessionID, mgs.OpenDataChannel{
		MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString(), TokenValue: secret.Text(token), ClientInstanceId: instanceID,
	})
	if err != nil {
		return nil, fmt.Errorf("open data channel: %w", err)
	}
	return conn, nil
}

func (g Gateway) dialData(ctx context.Context, sessionID string, first mgs.OpenDataChannel) (*socket.Conn, error) {
	target, err := g.url("data-channel", sessionID)
	if err != nil {
		return nil, err
	}
	target = "ws" + strings.TrimPrefix(target, "http") + "?role=publish_subscribe"
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
	o := socket.Options{Header: r.Header, ReadLimit: frame.MaxSize}
	if g.HTTP != nil {
		o.Transport, _ = g.HTTP.Transport.(*http.Transport)
	}
	conn, err := socket.Dial(ctx, target, o)
	switch {
	case errors.Is(err, socket.ErrRefused):
		return nil, err // in its own words
	case err != nil:
		return nil, unreachable(g.Endpoint, err)
	}
	if err := conn.WriteText(hello); err != nil {
		return nil, errors.Join(unreachable(g.Endpoint, err), conn.Close())
	}
	return conn, nil
}
