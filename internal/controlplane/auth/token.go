package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/ssm"
)

// secrets holds the server's own keys, by purpose.
var secrets = store.Table[[]byte]{Name: "secrets"}

const tokenKey = "role-token"

// Issuer makes and opens the role tokens of nodes. They are sealed with a key
// of the store, so nothing is kept per token, and restarts end none.
type Issuer struct {
	aead  cipher.AEAD
	clock clock.Clock
}

// token is what a session token seals.
type token struct {
	InstanceID  string    `json:"i"`
	AccessKeyID string    `json:"a"`
	Secret      string    `json:"s"`
	Expires     time.Time `json:"e"`
}

// NewIssuer returns the issuer with the store's key, which it makes at first.
func NewIssuer(db *store.DB, c clock.Clock) (*Issuer, error) {
	var key []byte
	get := func(tx *store.Tx) (err error) {
		key, _, err = secrets.Get(tx, tokenKey)
		return err
	}
	err := db.View(get)
	if err == nil && len(key) == 0 {
		err = db.Update(func(tx *store.Tx) error {
			if err := get(tx); err != nil || len(key) > 0 {
				return err
			}
			key = make([]byte, 32)
			_, _ = rand.Read(key) // never fails
			return secrets.Put(tx, tokenKey, key)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return &Issuer{aead: aead, clock: c}, nil
}

// IssueToken returns credentials with which the node may call for lifetime.
func (i *Issuer) IssueToken(instanceID string, lifetime time.Duration) (ssm.RequestManagedInstanceRoleTokenOutput, error) {
	k := newKey("ASIA")
	t := token{InstanceID: instanceID, AccessKeyID: k.ID, Secret: k.Secret, Expires: i.clock.Now().Add(lifetime).Truncate(time.Second)}
	plain, err := json.Marshal(t)
	if err != nil {
		return ssm.RequestManagedInstanceRoleTokenOutput{}, fmt.Errorf("seal token: %w", err)
	}
	nonce := make([]byte, i.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return ssm.RequestManagedInstanceRoleTokenOutput{
		AccessKeyId: k.ID, SecretAccessKey: secret.Text(k.Secret), TokenExpirationDate: ssm.Time{Time: t.Expires},
		SessionToken: secret.Text(base64.StdEncoding.EncodeToString(i.aead.Seal(nonce, nonce, plain, []byte(tokenKey)))),
	}, nil
}

var errToken = errors.New("not a token of ours")

func (i *Issuer) open(text string) (token, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < i.aead.NonceSize() {
		return token{}, errToken
	}
	plain, err := i.aead.Open(nil, raw[:i.aead.NonceSize()], raw[i.aead.NonceSize():], []byte(tokenKey))
	if err != nil {
		return token{}, errToken
	}
	var t token
	if err := json.Unmarshal(plain, &t); err != nil {
		return token{}, errToken
	}
	return t, nil
}
