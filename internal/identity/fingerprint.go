package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"ssmagent/fingerprint"
	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/vault"
)

// formerKey holds the fingerprint record of the machine that was registered,
// once this has turned out to be another. The stock agent ignores it.
const formerKey = "InstanceFingerprintFormer"

// Hardware finds out the properties by which a machine knows itself again;
// fingerprint.Read.
type Hardware func(context.Context) (map[string]string, error)

// Hardware that cannot be read, or differs, may be a machine that is still
// starting: so often is it looked at, so far apart.
const (
	collectAttempts = 3
	collectPause    = 5 * time.Second
)

// prints are the fingerprint records of a vault.
type prints struct {
	raw   []byte // of saved
	saved fingerprint.Record
	// former is the record of the registered machine, if saved is not.
	former []byte
}

// Fingerprint returns the fingerprint to ask for tokens with. Of the machine
// that was registered it is the one of the registration; a record that follows
// the stock agent's rules or older ones of ours is brought up to date. Another
// machine gets a new one, as stock agents do: the service refuses it, so that
// a clone cannot speak for the node. The old record is kept aside, and counts
// again when this is its machine after all. Where the record is missing or
// damaged nothing is written.
func Fingerprint(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock, log *slog.Logger) (string, error) {
	p, err := loadPrints(v)
	if err != nil {
		return "", err
	}
	if p.saved.Fingerprint == "" {
		return "", fmt.Errorf("the fingerprint of this registration is missing from the vault; %s", reRegister)
	}
	rec, changed, err := p.ensure(ctx, hw, clk)
	if err != nil {
		return "", err
	}
	registered := p.registered()
	if rec.Fingerprint != registered.Fingerprint {
		warnClone(log, registered, rec.HardwareHash)
	}
	if !changed {
		return rec.Fingerprint, nil
	}
	return rec.Fingerprint, p.replace(v, rec)
}

// registered is the record of the machine that was registered.
func (p prints) registered() fingerprint.Record {
	if p.former == nil {
		return p.saved
	}
	r, err := fingerprint.Load(p.former)
	if err != nil || r.Fingerprint == "" {
		return p.saved
	}
	return r
}

// replace makes rec the record. That of the registered machine is put aside
// before, and done away with once it is the record again.
func (p prints) replace(v *vault.Vault, rec fingerprint.Record) error {
	if rec.Fingerprint != p.registered().Fingerprint && p.former == nil {
		if err := v.Put(formerKey, p.raw); err != nil {
			return err
		}
	}
	if err := storeFingerprint(v, rec); err != nil {
		return err
	}
	if rec.Fingerprint == p.registered().Fingerprint && p.former != nil {
		return v.Delete(formerKey)
	}
	return nil
}

// warnClone says in one sentence what this machine looks like, and what to do,
// and then what differs.
func warnClone(log *slog.Logger, registered fingerprint.Record, current map[string]string) {
	r := fingerprint.Compare(registered.HardwareHash, current, registered.SimilarityThreshold)
	log.Error("Cannot connect to AWS Systems Manager.  This machine is a clone of the one that was registered, or its hardware has changed ("+
		r.Reason(registered.SimilarityThreshold)+"); if it is a clone, "+reRegister+"; if it is the same machine, lower the threshold "+
		"(amazon-ssm-agent -fingerprint -similarityThreshold 1) and restart the agent",
		"changed", strings.Join(r.Changed, ", "))
	for _, name := range r.Changed {
		log.Warn("this is not as it was registered", "property", name, "now", current[name], "registered", registered.HardwareHash[name])
	}
}

// RegisteredPrint is the fingerprint record of the machine that was registered,
// and whether this one was taken for another since.
func RegisteredPrint(v *vault.Vault) (rec fingerprint.Record, replaced bool, err error) {
	p, err := loadPrints(v)
	if err != nil {
		return rec, false, err
	}
	rec = p.registered()
	if rec.Fingerprint == "" {
		return rec, false, errors.New("there is no fingerprint here: this machine is not registered; " + reRegister)
	}
	return rec, rec.Fingerprint != p.saved.Fingerprint, nil
}

// claim is the record to register with: the saved one when this still is its
// machine, else a new one. changed says that it has to be saved.
func claim(ctx context.Context, v *vault.Vault, hw Hardware, clk clock.Clock) (rec fingerprint.Record, changed bool, err error) {
	p, err := loadPrints(v)
	if err != nil {
		return rec, false, err
	}
	return p.ensure(ctx, hw, clk)
}

// ensure looks at the hardware until it can be read and is that of a record.
func (p prints) ensure(ctx context.Context, hw Hardware, clk clock.Clock) (rec fingerprint.Record, changed bool, err error) {
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
		if r := p.registered(); r.Fingerprint != p.saved.Fingerprint {
			if rec, _, err = fingerprint.Ensure(p.former, current, 0); err == nil && rec.Fingerprint == r.Fingerprint {
				return rec, true, nil
			}
		}
		rec, changed, err = fingerprint.Ensure(p.raw, current, fingerprint.DefaultThreshold)
		if err == nil && (p.saved.Fingerprint == "" || rec.Fingerprint == p.saved.Fingerprint) {
			break
		}
	}
	return rec, changed, err
}

func loadPrints(v *vault.Vault) (p prints, err error) {
	if p.raw, err = loadFingerprint(v, vault.InstanceFingerprint); err != nil {
		return p, err
	}
	if p.saved, err = fingerprint.Load(p.raw); err != nil {
		return p, err
	}
	p.former, err = loadFingerprint(v, formerKey)
	return p, err
}

// loadFingerprint returns nil when there is no record.
func loadFingerprint(v *vault.Vault, key string) ([]byte, error) {
	raw, err := v.Get(key)
	switch {
	case errors.Is(err, vault.ErrNotFound):
		return nil, nil
	case errors.Is(err, vault.ErrDamaged):
		return nil, fmt.Errorf("%w (%w)", fingerprint.ErrUnreadable, err)
	case err != nil:
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
	if err := setThreshold(v, n); err != nil {
		return fmt.Errorf("%s Unable to set similarity threshold due to, %w", prefix, err)
	}
	return nil
}

// setThreshold changes the record, and that of the registered machine where
// this was taken for another: so it may become itself again.
func setThreshold(v *vault.Vault, n int) error {
	p, err := loadPrints(v)
	if err != nil {
		return err
	}
	if p.saved.Fingerprint == "" {
		return errors.New("save called with empty fingerprint key")
	}
	if former := p.registered(); p.former != nil {
		former.SimilarityThreshold = n
		raw, err := json.Marshal(former)
		if err != nil {
			return fmt.Errorf("encode the fingerprint: %w", err)
		}
		if err := v.Put(formerKey, raw); err != nil {
			return err
		}
	}
	p.saved.SimilarityThreshold = n
	return storeFingerprint(v, p.saved)
}
