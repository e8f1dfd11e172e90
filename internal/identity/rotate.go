package identity

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

// pendingKey holds the registration with the next key from before the service
// is told of it until it is the registration: a kill between the two leaves
// the node with the key that the service knows. The stock agent ignores it.
const pendingKey = "RegistrationKeyPending"

// rotationPause is the least time between two attempts.
const rotationPause = time.Hour

// rotateIfDue replaces the key when the service asked for it or it is old
// enough. A failure is logged and never keeps the node from working.
func (p *Provider) rotateIfDue(ctx context.Context) {
	p.mu.Lock()
	asked, key, print, ready := p.rotate, p.key, p.print, p.last == nil && p.validLocked()
	p.mu.Unlock()
	if !ready || p.o.Clock.Now().Before(p.rotateNext) {
		return
	}
	if !asked && (p.o.AutoRotateDays <= 0 || p.o.Clock.Now().Before(p.ageNext)) {
		return
	}
	old, err := loadRegistration(p.o.Vault)
	if err == nil && !asked {
		if old.keyAge(p.o.Clock.Now()) < p.o.AutoRotateDays {
			p.ageNext = p.o.Clock.Now().Add(rotationPause)
			return
		}
	}
	if err == nil && old.InstanceID != p.o.Identity.InstanceID {
		err = fmt.Errorf("the vault now holds the registration of %.80q; restart the agent", old.InstanceID)
	}
	if err == nil && p.o.Vault.Given(vault.RegistrationKey) {
		err = fmt.Errorf("it %w", vault.ErrGiven)
	}
	var fresh *rsa.PrivateKey
	if err == nil {
		fresh, err = p.o.replaceKey(ctx, old, key, print)
	}
	p.rotateNext = p.o.Clock.Now().Add(rotationPause)
	if err != nil {
		if ctx.Err() == nil {
			p.o.Log.Warn("the registration's key was not replaced; the old one stays", "error", err)
		}
		return
	}
	p.mu.Lock()
	p.key, p.rotate = fresh, false
	p.mu.Unlock()
	p.o.Log.Info("the registration has a new key", "instance", p.o.Identity.InstanceID)
}

// replaceKey tells the service of a new key and makes it the registration's.
func (o Options) replaceKey(ctx context.Context, old registration, oldKey *rsa.PrivateKey, print string) (*rsa.PrivateKey, error) {
	fresh, err := makeKey(o.newKey)
	if err != nil {
		return nil, err
	}
	rec, err := old.withKey(fresh, o.Clock.Now())
	if err != nil {
		return nil, err
	}
	if err := rec.store(o.Vault, pendingKey); err != nil {
		return nil, err
	}
	if err := o.publish(ctx, oldKey, fresh); err != nil {
		if ctx.Err() != nil {
			return nil, err // undecided: the pending key stays for the next start
		}
		if _, _, terr := o.token(ctx, oldKey, print); terr == nil {
			return nil, errors.Join(err, o.Vault.Delete(pendingKey))
		}
		if _, _, terr := o.token(ctx, fresh, print); terr != nil {
			return nil, fmt.Errorf("%w; and neither key is accepted now: %w", err, terr)
		}
	}
	if err := rec.store(o.Vault, vault.RegistrationKey); err != nil {
		if now, rerr := loadRegistration(o.Vault); rerr == nil && now.PrivateKey == rec.PrivateKey {
			// Written all the same, but perhaps not for good: the pending
			// copy, which is, stays.
			o.Log.Warn("the new key may not be safe on disk", "error", err)
			return fresh, nil
		}
		// The old key is what the disk has: make the service take it again.
		if back := o.publish(ctx, fresh, oldKey); back != nil {
			return nil, fmt.Errorf("%w; the service keeps the new key, which is in the vault as %s: %w", err, pendingKey, back)
		}
		return nil, errors.Join(err, o.Vault.Delete(pendingKey))
	}
	o.forget()
	return fresh, nil
}

// forget drops the pending key once it is the registration's. That it stays
// on disk does no harm.
func (o Options) forget() {
	if err := o.Vault.Delete(pendingKey); err != nil {
		o.Log.Warn("the copy of the new key stays in the vault", "error", err)
	}
}

// publish makes the service take next as the node's key, signed with key.
func (o Options) publish(ctx context.Context, key, next *rsa.PrivateKey) error {
	pub, err := sigv4.EncodePublicKey(&next.PublicKey)
	if err != nil {
		return err
	}
	return o.client(key).Call(ctx, "UpdateManagedInstancePublicKey",
		ssm.UpdateManagedInstancePublicKeyInput{NewPublicKey: pub, NewPublicKeyType: sigv4.KeyType}, nil)
}

// suspect says whether a refusal may be due to a signature with the wrong key.
func suspect(err error) bool {
	_, refused := errors.AsType[*ssmclient.Error](err)
	return refused && ssmclient.Code(err) != fingerprintMismatch
}

// pending returns the key of an interrupted change if the service takes it,
// after making it the registration's.
func (p *Provider) pending(ctx context.Context, print string) *rsa.PrivateKey {
	raw, err := p.o.Vault.Get(pendingKey)
	if err != nil {
		return nil
	}
	rec, err := parseRegistration(raw)
	if err != nil || rec.InstanceID != p.o.Identity.InstanceID {
		return nil
	}
	key, err := rec.key()
	if err != nil {
		return nil
	}
	if _, _, err := p.o.token(ctx, key, print); err != nil {
		return nil
	}
	if err := rec.store(p.o.Vault, vault.RegistrationKey); err != nil {
		p.o.Log.Error("the service knows a newer key, which cannot be made the registration's", "error", err)
		return key
	}
	p.o.forget()
	p.o.Log.Info("finished an interrupted change of the registration's key")
	return key
}
