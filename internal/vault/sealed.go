package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSealed says that a value cannot be opened here.
var ErrSealed = errors.New("was sealed on another machine, or this one has lost its keys; it is kept as it is: take the file back there, or restore one that is not sealed")

// Sealer makes values that only this machine can open, and opens them.
type Sealer struct{ Seal, Open func([]byte) ([]byte, error) }

// sealedMember is the only member of a sealed value but for its sum. To stock
// agents such a value is a registration of nobody.
const sealedMember = "ssmagentSealed"

// SealBy has the values with private keys, and no others, opened by s where they
// are sealed, and with keep written so. It must be called before the vault is
// used.
func (v *Vault) SealBy(s Sealer, keep bool) { v.sealer, v.keepSealed = s, keep }

// secretKey says whether the value of key has a private key.
func secretKey(key string) bool {
	return key == EC2RegistrationKey || strings.HasPrefix(key, RegistrationKey)
}

// Settle brings the values with private keys into the form that SealBy chose:
// each is either as it was or as it should be, whenever the machine stops.
func (v *Vault) Settle() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	entries, err := v.manifest(RegistrationKey)
	if err != nil {
		return err
	}
	keys := []string{RegistrationKey, EC2RegistrationKey}
	for key := range entries {
		if secretKey(key) && checkKey(key) == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if err := v.settle(key); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) settle(key string) error {
	if v.Given(key) {
		return nil
	}
	raw, _, err := v.raw(key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	sealed, isSealed := sealedValue(raw)
	if isSealed == v.keepSealed || !isSealed && !holdsKey(raw) {
		return nil
	}
	if isSealed {
		if raw, err = v.open(key, sealed); err != nil {
			return err
		}
	}
	return v.put(key, raw)
}

// holdsKey: a cleared record has no private key, and need not be sealed.
func holdsKey(value []byte) bool {
	var r struct{ PrivateKey string }
	return json.Unmarshal(value, &r) != nil || r.PrivateKey != ""
}

// sealedValue is what a sealed value holds.
func sealedValue(value []byte) (sealed []byte, ok bool) {
	if !bytes.Contains(value, []byte(sealedMember)) {
		return nil, false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil || len(members) != 1 || json.Unmarshal(members[sealedMember], &sealed) != nil {
		return nil, false
	}
	return sealed, len(sealed) > 0
}

func (v *Vault) open(key string, sealed []byte) ([]byte, error) {
	if v.sealer.Open == nil {
		return nil, fmt.Errorf("vault: %s %w", key, ErrSealed)
	}
	value, err := v.sealer.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("vault: %s %w (%w)", key, ErrSealed, err)
	}
	return value, nil
}

// seal is value as it is written under key.
func (v *Vault) seal(key string, value []byte) ([]byte, error) {
	if !v.keepSealed || !secretKey(key) || !holdsKey(value) {
		return value, nil
	}
	if v.sealer.Seal == nil {
		return nil, fmt.Errorf("vault: seal %s: %w", key, errors.ErrUnsupported)
	}
	sealed, err := v.sealer.Seal(value)
	if err != nil {
		return nil, fmt.Errorf("vault: seal %s: %w", key, err)
	}
	return json.Marshal(map[string][]byte{sealedMember: sealed})
}
