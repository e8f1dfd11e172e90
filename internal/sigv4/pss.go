package sigv4

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Sizes of keys in bits: made, and accepted from outside.
const (
	keyBits    = 2048
	maxKeyBits = 4096
)

// maxEncodedKey bounds a key in base64: a PKCS#1 key of 4096 bits has 3,200.
const maxEncodedKey = 8 << 10

// KeyType is what the services call the keys of this package.
const KeyType = "Rsa"

// pssOptions returns RSASSA-PSS with SHA-256 and a salt of 32 bytes.
func pssOptions() *rsa.PSSOptions { return &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256} }

// pssHeaders are the headers that a node signs with its key.
func pssHeaders() []string { return []string{"content-type", "host", "x-amz-date", "x-amz-target"} }

// SignPSS signs r as a registered node signs its token and key calls: the
// canonical request and string to sign of Signature Version 4, signed with key
// instead of a derived secret; instanceID stands where the access key id would.
// It sets X-Amz-Date, X-Amz-Content-Sha256 (not signed) and Authorization; the
// headers Content-Type and X-Amz-Target must be there. The stock agent sends
// such a body chunked; content-length is never signed.
func SignPSS(r *http.Request, body []byte, key *rsa.PrivateKey, instanceID, service, region string, now time.Time) error {
	if r.URL == nil || hostOf(r) == "" {
		return errors.New("sign request: the request has no host")
	}
	if key == nil || instanceID == "" {
		return errors.New("sign request: the registration has no private key or no instance id")
	}
	now = now.UTC().Truncate(time.Second)
	r.Host = canonicalHost(r)
	r.Header.Del(headerToken)
	r.Header.Set(headerDate, now.Format(timeFormat))
	sum := sha256.Sum256(body)
	r.Header.Set(headerHash, hex.EncodeToString(sum[:]))
	s := Signature{CredentialID: instanceID, Day: now.Format("20060102"), Region: region, Service: service,
		SignedHeaders: pssHeaders(), Time: now}
	text, ok := s.stringToSign(r, body)
	if !ok {
		return errors.New("sign request: Content-Type or X-Amz-Target is missing")
	}
	digest := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], pssOptions())
	if err != nil {
		return fmt.Errorf("sign request with the registration's key: %w", err)
	}
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s", algorithm,
		instanceID, s.scope(), strings.Join(s.SignedHeaders, ";"), base64.StdEncoding.EncodeToString(sig)))
	return nil
}

// ProveKey adds to a signed request the proof that its sender has key too: a
// signature over the whole Authorization header. EC2 instances under default
// host management ask for their role tokens this way.
func ProveKey(r *http.Request, key *rsa.PrivateKey) error {
	digest := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], pssOptions())
	if err != nil {
		return fmt.Errorf("sign request with the registration's key: %w", err)
	}
	// Stock agents send the name with these capitals.
	r.Header["SSM-AsymmetricKeyAuthorization"] = []string{"Signature=" + base64.StdEncoding.EncodeToString(sig)}
	return nil
}

// VerifyPSS says whether the signature was made over r and body with the
// private half of pub.
func (s Signature) VerifyPSS(r *http.Request, body []byte, pub *rsa.PublicKey) bool {
	text, ok := s.stringToSign(r, body)
	if !ok || pub == nil {
		return false
	}
	sig, err := base64.StdEncoding.DecodeString(s.Value)
	if err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(text))
	return rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, pssOptions()) == nil
}

// NewKey makes a key pair of 2048 bits, as nodes register.
func NewKey() (*rsa.PrivateKey, error) {
	k, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make an RSA key: %w", err)
	}
	return k, nil
}

// EncodePublicKey returns base64 of the PKIX DER, without line breaks: 392
// characters for 2048 bits.
func EncodePublicKey(k *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// DecodePublicKey reads what EncodePublicKey writes, of 2048 to 4096 bits.
func DecodePublicKey(s string) (*rsa.PublicKey, error) {
	der, err := decodeDER(s)
	if err != nil {
		return nil, fmt.Errorf("decode public key: %w", err)
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("decode public key: %w", err)
	}
	pub, ok := k.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("decode public key: it is not an RSA key")
	}
	if err := checkSize(pub); err != nil {
		return nil, fmt.Errorf("decode public key: %w", err)
	}
	return pub, nil
}

// EncodePrivateKey returns base64 of the PKCS#1 DER, the form at rest.
func EncodePrivateKey(k *rsa.PrivateKey) (string, error) {
	if k == nil {
		return "", errors.New("encode private key: there is none")
	}
	return base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(k)), nil
}

// DecodePrivateKey reads what EncodePrivateKey writes, of 2048 to 4096 bits.
// Its errors never contain any part of the key.
func DecodePrivateKey(s string) (*rsa.PrivateKey, error) {
	der, err := decodeDER(s)
	if err != nil {
		return nil, fmt.Errorf("decode private key: %w", err)
	}
	k, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, errors.New("decode private key: it is not a PKCS#1 RSA key")
	}
	if err := checkSize(&k.PublicKey); err != nil {
		return nil, fmt.Errorf("decode private key: %w", err)
	}
	return k, nil
}

func decodeDER(s string) ([]byte, error) {
	if len(s) > maxEncodedKey {
		return nil, fmt.Errorf("%d characters, at most %d are taken", len(s), maxEncodedKey)
	}
	der, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(der) == 0 {
		return nil, errors.New("it is not base64")
	}
	return der, nil
}

func checkSize(k *rsa.PublicKey) error {
	if n := k.N.BitLen(); n < keyBits || n > maxKeyBits {
		return fmt.Errorf("the RSA key has %d bits, need %d to %d", n, keyBits, maxKeyBits)
	}
	return nil
}
