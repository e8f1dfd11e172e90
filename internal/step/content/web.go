package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"ssmagent/internal/backoff"
)

const (
	patience     = time.Minute // for the next byte of an answer
	maxRedirects = 10
	maxAnswer    = 8 << 20 // bytes of an answer that is no file
)

var errSilent = fmt.Errorf("nothing came for %v", patience)

// refused is an answer other than the wanted one.
type refused struct {
	host   string
	status int
	text   string
}

func (r *refused) Error() string {
	s := fmt.Sprintf("%s answers %d %s", r.host, r.status, http.StatusText(r.status))
	if r.text != "" {
		s += ": " + r.text
	}
	return s
}

// brokenOff is an answer that did not come to its end.
type brokenOff struct{ err error }

func (b *brokenOff) Error() string { return "the answer breaks off: " + b.err.Error() }
func (b *brokenOff) Unwrap() error { return b.err }

// again says that the same request may succeed soon.
func again(err error) bool {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.status >= 500 && r.status != http.StatusNotImplemented || r.status == http.StatusTooManyRequests || r.status == http.StatusRequestTimeout
	}
	_, cut := errors.AsType[*brokenOff](err)
	_, unanswered := errors.AsType[*url.Error](err)
	return (cut || unanswered) && !errors.Is(err, errRedirect)
}

// exchange sends what build makes and hands the answer to take; a few times
// when no whole answer came or the server has a fault of its own. A server
// that falls silent is left.
func (p Plugin) exchange(ctx context.Context, h *http.Client, build func(context.Context) (*http.Request, error), take func(*http.Response) error) error {
	policy := backoff.Policy{First: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Retries: 4}
	return backoff.Do(ctx, p.Clock, policy, func(ctx context.Context) error {
		wctx, w := p.watch(ctx)
		defer w.stop()
		r, err := build(wctx)
		if err == nil {
			err = p.send(h, r, w, take)
		}
		if err != nil && context.Cause(wctx) == errSilent { //nolint:errorlint // it is ours, unwrapped
			err = &brokenOff{errSilent}
		}
		if err != nil && !again(err) {
			return backoff.Stop(err)
		}
		return err
	})
}

func (p Plugin) send(h *http.Client, r *http.Request, w *watch, take func(*http.Response) error) error {
	if p.UserAgent != "" {
		r.Header.Set("User-Agent", p.UserAgent)
	}
	resp, err := h.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	resp.Body = &watched{ReadCloser: resp.Body, w: w}
	return take(resp)
}

// watch ends a request that nothing happens to any more.
type watch struct {
	alive chan struct{}
	over  chan struct{}
	gone  chan struct{}
}

func (p Plugin) watch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{alive: make(chan struct{}, 1), over: make(chan struct{}), gone: make(chan struct{})}
	timer := p.Clock.NewTimer(patience)
	go func() {
		defer close(w.gone)
		defer timer.Stop()
		defer cancel(nil)
		for {
			select {
			case <-timer.C():
				cancel(errSilent)
				return
			case <-w.alive:
				timer.Reset(patience)
			case <-w.over:
				return
			}
		}
	}()
	return ctx, w
}

func (w *watch) stop() {
	close(w.over)
	<-w.gone
}

// watched is a body whose bytes keep its request alive.
type watched struct {
	io.ReadCloser
	w *watch
}

func (b *watched) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	select {
	case b.w.alive <- struct{}{}:
	default:
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &brokenOff{err}
	}
	return n, err
}

var errRedirect = errors.New("a redirect is not followed")

// following returns the client with a rule for redirects: never from https to
// plain text, and with sameHost never to another host.
func (p Plugin) following(sameHost bool) (*http.Client, error) {
	h, err := p.HTTP()
	if err != nil {
		return nil, err
	}
	c := *h
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case len(via) >= maxRedirects:
			return fmt.Errorf("%w: there were %d before it", errRedirect, maxRedirects)
		case first.Scheme == "https" && r.URL.Scheme != "https":
			return fmt.Errorf("%w: it leads from https to %s", errRedirect, r.URL.Scheme)
		case sameHost && r.URL.Host != first.Host:
			return fmt.Errorf("%w: it leads to another host, %s, which must not see the credentials", errRedirect, r.URL.Host)
		}
		return nil
	}
	return &c, nil
}

// refusal makes an error of an answer; the text is the beginning of its body,
// when that is text for people.
func refusal(resp *http.Response, text string) error {
	return &refused{host: resp.Request.URL.Host, status: resp.StatusCode, text: clip(text)}
}

// expect says whether the answer has one of the statuses.
func expect(resp *http.Response, statuses ...int) error {
	if slices.Contains(statuses, resp.StatusCode) {
		return nil
	}
	return refusal(resp, "")
}

// whole reads an answer that is no file.
func whole(resp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("the answer of %s is larger than %d bytes", resp.Request.URL.Host, maxAnswer)
	}
	return b, err
}

// clip makes a line of text from outside fit for an error.
func clip(s string) string {
	b := make([]rune, 0, 200)
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		if b = append(b, r); len(b) == 200 {
			break
		}
	}
	return string(b)
}
