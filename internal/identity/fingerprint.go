package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/vault"
)

// Thresholds of similarity in percent.
const (
	defaultThreshold  = 40
	disabledThreshold = -1
)

// fingerprintRecord is the stock agent's record of the vault key
// InstanceFingerprint. The fingerprint is a random UUID; the hardware only
// decides whether it still is this machine's.
type fingerprintRecord struct {
	Fingerprint         string            `json:"fingerprint"`
	HardwareHash        map[string]string `json:"hardwareHash"`
	SimilarityThreshold int               `json:"similarityThreshold"`
}

// ErrOtherMachine says that the registration was made for another machine.
var ErrOtherMachine = errors.New("this machine is not the one that was registered")

// Hardware finds out the properties by which a machine knows itself again.
type Hardware func(context.Context) (map[string]string, error)

const (
	collectAttempts = 3
	collectPause    = 5 * time.Second
)

// Fingerprint returns the registered machine's fingerprint, after checking
// that this is that machine. Where it is not, or the record is missing or
// damaged, it says so (ErrOtherMachine for the first) and writes nothing: the
// stock agent would make a new fingerprint, with which no call succeeds and
// the old one is lost.
func Fingerprint(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (string, error) {
	_, saved, why, err := compare(ctx, v, hw, clk)
	switch {
	case err != nil:
		return "", err
	case saved.Fingerprint == "":
		return "", fmt.Errorf("the fingerprint of this registration is missing from the vault; %s", reRegister)
	case why != "":
		return "", fmt.Errorf("Cannot connect to AWS Systems Manager.  %w: %s; %s", ErrOtherMachine, why, reRegister) //nolint:staticcheck // the stock agent's words
	}
	return saved.Fingerprint, nil
}

// claim is the record to register with: the saved one when this still is its
// machine, else a new one.
func claim(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (rec fingerprintRecord, fresh bool, err error) {
	current, saved, why, err := compare(ctx, v, hw, clk)
	if err != nil {
		return rec, false, err
	}
	if saved.Fingerprint != "" && why == "" {
		return saved, false, nil
	}
	threshold := defaultThreshold
	if saved.Fingerprint != "" {
		threshold = saved.SimilarityThreshold
	}
	return fingerprintRecord{Fingerprint: uuid.NewString(), HardwareHash: current, SimilarityThreshold: threshold}, true, nil
}

// compare reads hardware and record. why is empty when they are alike, or when
// there is no record to compare with.
func compare(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (current map[string]string, saved fingerprintRecord, why string, err error) {
	for attempt := range collectAttempts {
		if attempt > 0 {
			// Hardware that cannot be read, or differs, may be a machine
			// that is still starting.
			if werr := backoff.Wait(ctx, clk, collectPause); werr != nil {
				return nil, saved, "", werr
			}
		}
		if current, err = collect(ctx, hw); err != nil {
			continue
		}
		if saved, err = loadFingerprint(v); err != nil {
			return nil, saved, "", err // waiting does not mend it
		}
		if saved.Fingerprint == "" {
			return current, saved, "", nil
		}
		if why = differ(saved.HardwareHash, current, saved.SimilarityThreshold); why == "" {
			return current, saved, "", nil
		}
	}
	return current, saved, why, err
}

func collect(ctx context.Context, hw Hardware) (map[string]string, error) {
	current, err := hw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the hardware's properties: %w", err)
	}
	for k, s := range current {
		if !utf8.ValidString(s) || !utf8.ValidString(k) {
			return nil, fmt.Errorf("Hardware hash generated contains invalid characters: property %q", k) //nolint:staticcheck // the stock agent's words
		}
	}
	return current, nil
}

// loadFingerprint returns the zero record when there is none.
func loadFingerprint(v *vault.Vault) (fingerprintRecord, error) {
	raw, err := v.Get(vault.InstanceFingerprint)
	if errors.Is(err, vault.ErrNotFound) {
		return fingerprintRecord{}, nil
	}
	if err != nil {
		return fingerprintRecord{}, fmt.Errorf("read the fingerprint: %w", err)
	}
	return parseFingerprint(raw)
}

// parseFingerprint refuses what is no record: to replace it in silence would
// make every later token call fail.
func parseFingerprint(raw []byte) (fingerprintRecord, error) {
	var r fingerprintRecord
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("the fingerprint in the vault (%s) is damaged and kept as it is; restore it from a backup, or forget the registration "+
			"(amazon-ssm-agent -register -clear) and register again", vault.InstanceFingerprint)
	}
	return r, nil
}

func (r fingerprintRecord) store(v *vault.Vault) error {
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
	if n != disabledThreshold && (n < 1 || n > 100) {
		return fmt.Errorf("%s Invalid Similarity Threshold value of %d. Value must be between 1 and 100 or -1 (check disabled)", prefix, n) //nolint:staticcheck // the stock agent's words
	}
	rec, err := loadFingerprint(v)
	if err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	if rec.Fingerprint == "" {
		return fmt.Errorf("%s Unable to set similarity threshold due to, save called with empty fingerprint key", prefix) //nolint:staticcheck // the stock agent's words
	}
	rec.SimilarityThreshold = n
	if err := rec.store(v); err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	return nil
}
