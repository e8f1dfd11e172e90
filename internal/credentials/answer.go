package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// answer is what programs, containers and the instance metadata service give:
// they differ only in the name of the token.
type answer struct {
	Code, Message   string
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Token           string
	Expiration      string
}

// credentialsOf reads an answer; source is who gave it.
func credentialsOf(b []byte, source string) (aws.Credentials, error) {
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		// Not the decoder's own words: they could quote a secret.
		return aws.Credentials{}, fmt.Errorf("%s: its answer is not the JSON it should be", source)
	}
	if a.Code != "" && a.Code != "Success" {
		return aws.Credentials{}, fmt.Errorf("%s: it answers %s: %s", source, printable(a.Code), printable(a.Message))
	}
	c, err := whole(a.AccessKeyID, a.SecretAccessKey, first(a.SessionToken, a.Token), a.Expiration)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%s: %w", source, err)
	}
	c.Source = source
	return c, nil
}

// whole checks what came from outside before it gets into headers.
func whole(id, secret, token, expiration string) (aws.Credentials, error) {
	for _, f := range [][2]string{{"access key", id}, {"secret key", secret}, {"session token", token}} {
		switch {
		case f[1] == "" && f[0] != "session token":
			return aws.Credentials{}, fmt.Errorf("its answer has no %s", f[0])
		case strings.ContainsFunc(f[1], func(r rune) bool { return r <= ' ' || r > '~' }):
			return aws.Credentials{}, fmt.Errorf("the %s in its answer has characters that none has", f[0])
		}
	}
	c := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
	if expiration == "" {
		return c, nil
	}
	at, err := time.Parse(time.RFC3339, expiration)
	if err != nil {
		return aws.Credentials{}, errors.New("the Expiration in its answer is no time like 2006-01-02T15:04:05Z")
	}
	c.CanExpire, c.Expires = true, at
	return c, nil
}

// printable makes foreign text fit for one line of a terminal.
func printable(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
