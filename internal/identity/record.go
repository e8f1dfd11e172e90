package identity

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"ssmagent/internal/secret"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/vault"
)

// registration is the stock agent's record of the vault key RegistrationKey.
type registration struct {
	InstanceID            string      `json:"instanceID"`
	Region                string      `json:"region"`
	InstanceType          string      `json:"instanceType"`
	AvailabilityZone      string      `json:"availabilityZone"`
	PrivateKey            secret.Text `json:"privateKey"` // base64 of PKCS#1 DER
	PublicKey             string      `json:"publicKey"`  // empty for hybrid nodes
	PrivateKeyType        string      `json:"privateKeyType"`
	PrivateKeyCreatedDate string      `json:"privateKeyCreatedDate"`
}

// createdFormat is how Go prints a time, which is how the record has it.
const createdFormat = "2006-01-02 15:04:05.999999999 -0700 MST"

// unknownAge is that of a key whose date is missing, in days.
const unknownAge = 3650

var (
	instanceRule = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,511}$`) })
	regionRule   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`) })
)

const reRegister = "register the machine again (amazon-ssm-agent -register …)"

// errDamaged is wrapped with what is wrong.
var errDamaged = errors.New("the registration is damaged")

func parseRegistration(raw []byte) (registration, error) {
	var r registration
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("%w: it is not JSON; %s", errDamaged, reRegister)
	}
	if r.InstanceID == "" && r.Region == "" {
		// Cleared, or the write test of an interrupted stock registration.
		return registration{}, nil
	}
	if r.PrivateKey == "" {
		return r, fmt.Errorf("%w: it has no private key; %s", errDamaged, reRegister)
	}
	if err := (Identity{InstanceID: r.InstanceID, Region: r.Region}).check(); err != nil {
		return r, fmt.Errorf("%w: %w; %s", errDamaged, err, reRegister)
	}
	return r, nil
}

// check refuses names that must not become part of a path or a URL.
func (i Identity) check() error {
	if !instanceRule().MatchString(i.InstanceID) {
		return fmt.Errorf("%.80q is not an instance id", i.InstanceID)
	}
	if !regionRule().MatchString(i.Region) {
		return fmt.Errorf("%.80q is not a region", i.Region)
	}
	return nil
}

// loadRegistration returns the zero record when there is no registration.
func loadRegistration(v *vault.Vault) (registration, error) {
	raw, err := v.Get(vault.RegistrationKey)
	if errors.Is(err, vault.ErrNotFound) {
		return registration{}, nil
	}
	if errors.Is(err, vault.ErrDamaged) || errors.Is(err, vault.ErrSealed) {
		return registration{}, fmt.Errorf("%w: %w, or %s", errDamaged, err, reRegister)
	}
	if err != nil {
		return registration{}, fmt.Errorf("read the registration (run as root or administrator?): %w", err)
	}
	return parseRegistration(raw)
}

func (r registration) key() (*rsa.PrivateKey, error) {
	if r.PrivateKeyType != "" && r.PrivateKeyType != sigv4.KeyType {
		return nil, fmt.Errorf("%w: its key is of type %.40q, need %s; %s", errDamaged, r.PrivateKeyType, sigv4.KeyType, reRegister)
	}
	key, err := sigv4.DecodePrivateKey(string(r.PrivateKey))
	if err != nil {
		return nil, fmt.Errorf("%w: %w; %s", errDamaged, err, reRegister)
	}
	return key, nil
}

// withKey is r with another private key, made now.
func (r registration) withKey(key *rsa.PrivateKey, now time.Time) (registration, error) {
	text, err := sigv4.EncodePrivateKey(key)
	if err != nil {
		return r, err
	}
	r.PrivateKey, r.PublicKey, r.PrivateKeyType = secret.Text(text), "", sigv4.KeyType
	r.PrivateKeyCreatedDate = now.Local().Format(createdFormat)
	return r, nil
}

func (r registration) store(v *vault.Vault, key string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the registration: %w", err)
	}
	return v.Put(key, raw)
}

// keyAge is the age of the private key in whole days.
func (r registration) keyAge(now time.Time) int {
	t, err := time.Parse(createdFormat, r.PrivateKeyCreatedDate)
	if err != nil {
		return unknownAge
	}
	return int(now.Sub(t) / (24 * time.Hour))
}
