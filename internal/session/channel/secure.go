package channel

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/seal"
	"ssmagent/internal/wire/mgs"
)

// ErrInsecure says that a session that must be encrypted cannot be, or that
// something came that was not.
var ErrInsecure = errors.New("the session cannot be encrypted")

// Encryption is how a session is encrypted.
type Encryption struct {
	KeyID string // what the client has a data key made with
	// Acknowledge refuses clients that do not bind their data key to our
	// challenge. No stock client does.
	Acknowledge bool
	// Open opens the data key that the client had made; challenge is "" when
	// the client did not take it up.
	Open func(ctx context.Context, sealed []byte, challenge string) ([]byte, error)
}

// openWithin bounds Encryption.Open: KMS may be far, and is asked again.
const openWithin = 15 * time.Second

// customerMessage tells the person, in the words that they know.
const customerMessage = "This session is encrypted using AWS KMS."

// securing is how far the encryption is.
type securing struct {
	challenge string // of the handshake request
	result    *mgs.KMSEncryptionResult
	size      mgs.Size // told in the meantime
}

// askEncryption is the action that asks for encryption.
func (c *Channel) askEncryption() (mgs.ClientAction, error) {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	c.shake.secure.challenge = base64.StdEncoding.EncodeToString(b)
	return mgs.NewKMSEncryption(c.opt.Encryption.KeyID, c.shake.secure.challenge)
}

// secure has the session encrypted before anything else is sent. When that
// fails, the channel carries nothing any more. The greeting has the size if the
// client told it already.
func (c *Channel) secure(ctx context.Context) (Greeting, error) {
	if err := c.exchangeKeys(ctx); err != nil {
		if ctx.Err() == nil {
			c.finish(err)
		}
		return Greeting{}, err
	}
	return Greeting{Peer: c.peer(), Size: c.shake.secure.size}, nil
}

func (c *Channel) exchangeKeys(ctx context.Context) error {
	key, err := c.clientsKey(ctx)
	if err != nil {
		return err
	}
	cipher, err := seal.ForAgent(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInsecure, err)
	}
	want := seal.NewChallenge()
	b, err := json.Marshal(mgs.EncChallenge{Challenge: cipher.Seal(nil, want)})
	if err != nil {
		return fmt.Errorf("encode the challenge: %w", err)
	}
	c.mu.Lock()
	c.link.SetCipher(cipher)
	_, err = c.link.PushWhole(c.opt.Clock.Now(), mgs.PayloadEncChallengeRequest, b)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("send the challenge: %w", err)
	}
	c.flush(0)
	return c.proved(ctx, cipher, want)
}

// clientsKey waits for the client's answer and has its key opened.
func (c *Channel) clientsKey(ctx context.Context) ([]byte, error) {
	var result *mgs.KMSEncryptionResult
	err := c.await(ctx, "the client did not answer the handshake", func(uint32, []byte) (bool, error) {
		c.mu.Lock()
		result = c.shake.secure.result
		c.mu.Unlock()
		return result != nil, nil
	})
	if err != nil {
		return nil, err
	}
	e, challenge := c.opt.Encryption, ""
	if result.ChallengeAcknowledgement {
		challenge = c.shake.secure.challenge
	} else if e.Acknowledge {
		return nil, fmt.Errorf("%w: the node asks for clients that take up its challenge (Kms.RequireKMSChallengeResponse), which client %.32q does not; "+
			"use ssm-local, or set Kms.RequireKMSChallengeResponse to false", ErrInsecure, c.peer().Version)
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	key, err := e.Open(ctx, result.KMSCipherTextKey, challenge)
	if err != nil {
		return nil, fmt.Errorf("%w: the node cannot open the data key: %w", ErrInsecure, err)
	}
	return key, nil
}

// proved waits for the challenge to come back and completes the handshake.
func (c *Channel) proved(ctx context.Context, cipher *seal.Cipher, want []byte) error {
	err := c.await(ctx, "the client did not answer the encryption challenge", func(kind uint32, p []byte) (bool, error) {
		if kind != mgs.PayloadEncChallengeResponse {
			return false, nil
		}
		r, err := mgs.Decode[mgs.EncChallenge](p)
		if err != nil {
			return false, fmt.Errorf("%w: the answer to the encryption challenge: %w", ErrInsecure, err)
		}
		got, err := cipher.Open(r.Challenge)
		if err != nil || subtle.ConstantTimeCompare(got, want) != 1 {
			return false, fmt.Errorf("%w: the client does not have the session's key (the encryption challenge came back wrong)", ErrInsecure)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.complete(c.opt.Clock.Now(), customerMessage)
	c.mu.Unlock()
	return nil
}

// await takes payloads until one is what is waited for. A size is kept; input
// that comes now is thrown away, as it would be by a stock agent.
func (c *Channel) await(ctx context.Context, late string, is func(kind uint32, p []byte) (bool, error)) error {
	limit := c.opt.Clock.NewTimer(clientWithin)
	defer limit.Stop()
	for {
		p, ok := c.next()
		if ok {
			if p.Type == mgs.PayloadSize {
				if size, err := mgs.Decode[mgs.Size](p.Bytes); err == nil && size.Cols > 0 && size.Rows > 0 {
					c.shake.secure.size = size
				}
			}
			if is, err := is(p.Type, p.Bytes); is || err != nil {
				return err
			}
			continue
		}
		select {
		case <-c.readable:
		case <-limit.C():
			return fmt.Errorf("%w: %s within %v; a session with kmsKeyId needs the session-manager-plugin or ssm-local", ErrInsecure, late, clientWithin)
		case <-c.done:
			if err := c.Err(); err != nil {
				return err
			}
			return ErrGone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// agreed takes what the client says of the encryption. With c.mu.
func (c *Channel) agreed(r mgs.HandshakeResponse) error {
	for _, a := range r.ProcessedClientActions {
		if a.ActionType != mgs.ActionKMSEncryption {
			continue
		}
		result, err := mgs.Decode[mgs.KMSEncryptionResult](a.ActionResult)
		if err != nil {
			return fmt.Errorf("%w: the client's answer to %s: %w", ErrInsecure, mgs.ActionKMSEncryption, err)
		}
		result.KMSCipherTextKey = append([]byte(nil), result.KMSCipherTextKey...)
		c.shake.secure.result = &result
		return nil
	}
	return fmt.Errorf("%w: client %.32q does not say that it encrypts; a session with kmsKeyId needs the session-manager-plugin or ssm-local", ErrInsecure, r.ClientVersion)
}

// unsealed ends the channel when something came that cannot be opened. With
// c.mu.
func (c *Channel) unsealed() {
	if err := c.link.Forged(); err != nil {
		c.finishLocked(fmt.Errorf("%w: what the client sent cannot be opened, and was not used: %w", ErrInsecure, err))
	}
}
