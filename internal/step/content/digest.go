package content

import (
	"crypto/md5" //nolint:gosec // the scheme's own
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

const (
	maxChallenge  = 8 << 10
	maxAttributes = 32
)

// challenge is a server's demand for digest authentication (RFC 7616).
type challenge struct {
	realm, nonce, opaque string
	algorithm            string // as the server wrote it; empty is MD5
	qop                  string // auth, auth-int or none
	userhash             bool
}

// parseChallenge finds the first demand for Digest among the headers that can
// be met.
func parseChallenge(headers []string) (challenge, error) {
	err := errors.New("the server asks for another authentication than Digest; correct authMethod")
	for _, h := range headers {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(h), " ")
		if !strings.EqualFold(scheme, "Digest") {
			continue
		}
		c, cerr := newChallenge(rest)
		if cerr == nil {
			return c, nil
		}
		err = fmt.Errorf("the server's demand for Digest authentication: %w", cerr)
	}
	return challenge{}, err
}

func newChallenge(text string) (challenge, error) {
	attributes, err := parseAttributes(text)
	if err != nil {
		return challenge{}, err
	}
	c := challenge{
		realm: attributes["realm"], nonce: attributes["nonce"], opaque: attributes["opaque"],
		algorithm: attributes["algorithm"], userhash: strings.EqualFold(attributes["userhash"], "true"),
	}
	if c.nonce == "" {
		return c, errors.New("it has no nonce")
	}
	if c.hash() == nil {
		return c, fmt.Errorf("its algorithm %.40q is not known; known are MD5 and SHA-256", c.algorithm)
	}
	if given, ok := attributes["qop"]; ok {
		first, _, _ := strings.Cut(given, ",")
		c.qop = strings.TrimSpace(first)
		if c.qop != "auth" && c.qop != "auth-int" {
			return c, fmt.Errorf("its qop %.40q is not known; known are auth and auth-int", given)
		}
	}
	return c, nil
}

// parseAttributes reads name=value pairs between commas; values may be quoted.
func parseAttributes(s string) (map[string]string, error) {
	if len(s) > maxChallenge {
		return nil, fmt.Errorf("it is longer than %d bytes", maxChallenge)
	}
	all := map[string]string{}
	for s = strings.TrimLeft(s, " \t,"); s != ""; s = strings.TrimLeft(s, " \t,") {
		name, rest, ok := strings.Cut(s, "=")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" || len(all) == maxAttributes {
			return nil, errors.New("it is malformed")
		}
		rest = strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(rest, `"`) {
			var value string
			value, s, _ = strings.Cut(rest, ",")
			all[name] = strings.TrimSpace(value)
			continue
		}
		if all[name], s, ok = unquote(rest[1:]); !ok {
			return nil, errors.New("a quotation mark in it is not closed")
		}
	}
	return all, nil
}

// unquote reads up to the closing quotation mark; the opening one is gone.
func unquote(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// hash is the function that the algorithm names; nil: it is not known.
func (c challenge) hash() func(parts ...string) string {
	var make func() hash.Hash
	switch strings.TrimSuffix(strings.ToUpper(c.algorithm), "-SESS") {
	case "", "MD5":
		make = md5.New
	case "SHA-256":
		make = sha256.New
	default:
		return nil
	}
	return func(parts ...string) string {
		h := make()
		h.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h.Sum(nil))
	}
}

// answer is the Authorization header for a request without a body.
func (c challenge) answer(method, uri, name, password, cnonce string) string {
	const count = "00000001"
	h := c.hash()
	secret := h(name, c.realm, password)
	if strings.HasSuffix(strings.ToUpper(c.algorithm), "-SESS") {
		secret = h(secret, c.nonce, cnonce)
	}
	what := h(method, uri)
	if c.qop == "auth-int" {
		what = h(method, uri, h(""))
	}
	response := h(secret, c.nonce, what)
	if c.qop != "" {
		response = h(secret, c.nonce, count, cnonce, c.qop, what)
	}
	if c.userhash {
		name = h(name, c.realm)
	}
	out := fmt.Sprintf(`Digest username=%s, realm=%s, nonce=%s, uri=%s, response="%s"`, quote(name), quote(c.realm), quote(c.nonce), quote(uri), response)
	if c.algorithm != "" {
		out += ", algorithm=" + strings.Map(token, c.algorithm)
	}
	if c.opaque != "" {
		out += ", opaque=" + quote(c.opaque)
	}
	if c.qop != "" || strings.HasSuffix(strings.ToUpper(c.algorithm), "-SESS") {
		out += fmt.Sprintf(`, cnonce="%s"`, cnonce)
	}
	if c.qop != "" {
		out += ", qop=" + c.qop + ", nc=" + count
	}
	if c.userhash {
		out += ", userhash=true"
	}
	return out
}

// token drops what a server's algorithm cannot hold, having been recognized.
func token(r rune) rune {
	if r <= ' ' || r >= 0x7f {
		return -1
	}
	return r
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s) + `"`
}
