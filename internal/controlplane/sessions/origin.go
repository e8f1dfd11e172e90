package sessions

import (
	"context"
	"net/http"
)

type originKey struct{}

// Origin has StartSession and ResumeSession, served by next, name the host and
// the scheme by which their caller reached us.
func Origin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme := "ws"
		if r.TLS != nil {
			scheme = "wss"
		}
		next.ServeHTTP(w, r.WithContext(WithOrigin(r.Context(), scheme+"://"+r.Host)))
	})
}

// WithOrigin is Origin for those who call without HTTP; base is a ws or wss
// URL without a path.
func WithOrigin(ctx context.Context, base string) context.Context {
	return context.WithValue(ctx, originKey{}, base)
}

// streamURL is where a client dials. Session ids need no escape in a path.
func streamURL(ctx context.Context, id string) string {
	base, _ := ctx.Value(originKey{}).(string)
	return base + "/v1/data-channel/" + id + "?role=publish_subscribe"
}
