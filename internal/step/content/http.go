package content

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/http"
	"net/url"
	"strings"
)

type httpInfo struct {
	URL           string `json:"url"`
	AuthMethod    string `json:"authMethod"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	AllowInsecure bool   `json:"allowInsecureDownload"`
}

// http fetches one file from a web server.
func (p Plugin) http(ctx context.Context, i httpInfo, to *destination) error {
	u, err := url.Parse(strings.TrimSpace(i.URL))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("url %.200q is not a URL like https://host/path", redacted(i.URL))
	case u.Scheme == "http" && !i.AllowInsecure:
		return errors.New("url has the scheme http, over which anyone can read and change the content; use https, or set allowInsecureDownload to true")
	}
	var name, password string
	switch i.AuthMethod {
	case "", "None":
	case "Basic", "Digest":
		if name, err = p.reveal(ctx, "username", i.Username); err == nil {
			password, err = p.reveal(ctx, "password", i.Password)
		}
		if err != nil {
			return err
		}
		if name == "" && password == "" {
			return fmt.Errorf("authMethod is %s, but username and password are empty", i.AuthMethod)
		}
	default:
		return fmt.Errorf("authMethod %.40q is not known; use None, Basic or Digest", i.AuthMethod)
	}
	h, err := p.following(i.AuthMethod == "Digest")
	if err != nil {
		return err
	}
	random, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt64))
	if err != nil {
		return err
	}
	build := func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		switch i.AuthMethod {
		case "Basic":
			r.SetBasicAuth(name, password)
		case "Digest":
			err = p.digest(ctx, h, r, name, password)
		}
		return r, err
	}
	return p.exchange(ctx, h, build, func(resp *http.Response) error {
		if err := expect(resp, http.StatusOK); err != nil {
			return err
		}
		return to.file("download"+random.String(), resp.Body)
	})
}

// Get is Fetch for an address that a step gave, which may be one of S3: the
// node's credentials open that, unless it is signed itself.
func (p Plugin) Get(ctx context.Context, address string, take func(io.Reader) error) error {
	o, h, err := p.object(address)
	if err != nil || o.key == "" || strings.Contains(address, "?") {
		return p.Fetch(ctx, address, take)
	}
	b := bucket{Plugin: p, http: h, at: o}
	return b.object(ctx, o.key, func(resp *http.Response) error { return take(resp.Body) })
}

// Fetch gets a file from an address that a service gave and hands its body to
// take, which is called again when the answer broke off.
func (p Plugin) Fetch(ctx context.Context, address string, take func(io.Reader) error) error {
	h, err := p.following(false)
	if err != nil {
		return err
	}
	return p.exchange(ctx, h, func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	}, func(resp *http.Response) error {
		if err := expect(resp, http.StatusOK); err != nil {
			return err
		}
		return take(resp.Body)
	})
}

// digest asks for the server's challenge and answers it in r.
func (p Plugin) digest(ctx context.Context, h *http.Client, r *http.Request, name, password string) error {
	probe, err := http.NewRequestWithContext(ctx, r.Method, r.URL.String(), nil)
	if err != nil {
		return err
	}
	resp, err := h.Do(probe)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// So that the connection can be used again; what is longer is not worth it.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if err := expect(resp, http.StatusUnauthorized); err != nil {
		return fmt.Errorf("authMethod is Digest, but the server asks for none: %w", err)
	}
	c, err := parseChallenge(resp.Header.Values("WWW-Authenticate"))
	if err != nil {
		return err
	}
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // never fails
	r.Header.Set("Authorization", c.answer(r.Method, r.URL.RequestURI(), name, password, hex.EncodeToString(nonce)))
	return nil
}

// redacted is a URL without its password, for people.
func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "[not a URL]"
}
