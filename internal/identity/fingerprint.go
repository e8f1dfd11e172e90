package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ssmagent/fingerprint"
	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/vault"
)

// ErrOtherMachine says that the registration was made for another machine.
var ErrOtherMachine = errors.New("this machine is not the one that was registered")

// Hardware finds out the properties by which a machine knows itself again;
// fingerprint.Read.
type Hardware func(context.Context) (map[string]string, error)

// Hardware that cannot be read, or differs, may be a machine that is still
// starting: so often is it looked at, so far apart.
const (
	collectAttempts = 3
	collectPause    = 5 * time.Second
)

// Fingerprint returns the registered machine's fingerprint, after checking
// that this is that machine; a record that follows the stock agent's rules or
// older ones of ours is brought up to date. Where it is another machine
// (ErrOtherMachine), or the record is missing or damaged, nothing is written:
// the stock agent makes a new fingerprint then, with which no call succeeds,
// and the old one is lost.
func Fingerprint(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (string, error) {
	raw, err := loadFingerprint(v)
	if err != nil {
		return "", err
	}
	saved, err := fingerprint.Load(raw)
	if err != nil {
		return "", err
	}
	if saved.Fingerprint == "" {
		return "", fmt.Errorf("the fingerprint of this registration is missing from the vault; %s", reRegister)
	}
	rec, changed, err := ensure(ctx, raw, saved, hw, clk)
	if err != nil {
		return "", err
	}
	if rec.Fingerprint != saved.Fingerprint {
		result := fingerprint.Compare(saved.HardwareHash, rec.HardwareHash, saved.SimilarityThreshold)
		return "", fmt.Errorf("Cannot connect to AWS Systems Manager.  %w (%s; changed: %s); %s", ErrOtherMachine, //nolint:staticcheck // the words are ours to keep
			result.Decision, strings.Join(result.Changed, ", "), reRegister)
	}
	if changed {
		if err := storeFingerprint(v, rec); err != nil {
			return "", err
		}
	}
	return rec.Fingerprint, nil
}

// claim is the record to register with: the saved one when this still is its
// machine, else a new one. changed says that it has to be saved.
func claim(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (rec fingerprint.Record, changed bool, err error) {
	raw, err := loadFingerprint(v)
	if err != nil {
		return rec, false, err
	}
	saved, err := fingerprint.Load(raw)
	if err != nil {
		return rec, false, err
	}
	return ensure(ctx, raw, saved, hw, clk)
}

// ensure looks at the hardware until it can be read and is that of saved.
func ensure(ctx context.Context, raw []byte, saved fingerprint.Record, hw Hardware, clk clock.Clock) (rec fingerprint.Record, changed bool, err error) {
	for attempt := range collectAttempts {
		if attempt > 0 {
			if werr := backoff.Wait(ctx, clk, collectPause); werr != nil {
				return rec, false, werr
			}
		}
		var current map[string]string
		if current, err = hw(ctx); err != nil {
			continue
		}
		rec, changed, err = fingerprint.Ensure(raw, current, fingerprint.DefaultThreshold)
		if err == nil && (saved.Fingerprint == "" || rec.Fingerprint == saved.Fingerprint) {
			break
		}
	}
	return rec, changed, err
}

// loadFingerprint returns nil when there is no record.
func loadFingerprint(v *vault.Vault) ([]byte, error) {
	raw, err := v.Get(vault.InstanceFingerprint)
	if errors.Is(err, vault.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the fingerprint: %w", err)
	}
	return raw, nil
}

func storeFingerprint(v *vault.Vault, r fingerprint.Record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the fingerprint: %w", err)
	}
	return v.Put(vault.InstanceFingerprint, raw)
}

// SetThreshold changes how alike, in percent, the hardware must be: 1 to 100,
// or -1 to check nothing. The error has the stock agent's words.
func SetThreshold(v *vault.Vault, n int) error {
	const prefix = "Error setting the SimilarityThreshold."
	if !fingerprint.ValidThreshold(n) {
		return fmt.Errorf("%s Invalid Similarity Threshold value of %d. Value must be between 1 and 100 or -1 (check disabled)", prefix, n)
	}
	raw, err := loadFingerprint(v)
	if err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	rec, err := fingerprint.Load(raw)
	if err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	if rec.Fingerprint == "" {
		return fmt.Errorf("%s Unable to set similarity threshold due to, save called with empty fingerprint key", prefix)
	}
	rec.SimilarityThreshold = n
	if err := storeFingerprint(v, rec); err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	return nil
}
