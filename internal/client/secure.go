package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/seal"
	"ssmagent/internal/wire/mgs"
)

// keyWithin bounds Options.DataKey: agents wait 15 s for the whole answer, and
// the reason is to be told by who knows it.
const keyWithin = 10 * time.Second

// securing is how far the encryption is.
type securing struct {
	cipher *seal.Cipher // nil: not encrypted
	proved bool         // the agent's challenge was answered
}

// kmsAction finds the wish for encryption in a handshake.
func kmsAction(r mgs.HandshakeRequest) (mgs.KMSEncryptionParameters, bool, error) {
	for _, a := range r.RequestedClientActions {
		if a.ActionType == mgs.ActionKMSEncryption {
			p, err := mgs.Decode[mgs.KMSEncryptionParameters](a.ActionParameters)
			return p, true, err
		}
	}
	return mgs.KMSEncryptionParameters{}, false, nil
}

// fetchKey has a data key made and then answers the handshake: KMS takes its
// time, in which the connection must live. With s.mu.
func (s *Session) fetchKey(r mgs.HandshakeRequest, p mgs.KMSEncryptionParameters) {
	s.shake.waiting = true
	run := s.run
	s.keys.Go(func() {
		key, sealed, err := s.dataKey(run, p)
		if run.Err() != nil {
			return
		}
		s.mu.Lock()
		now := s.opt.Clock.Now()
		s.shake.waiting = false
		s.reply(now, r, func() (mgs.KMSEncryptionResult, error) {
			if err != nil {
				return mgs.KMSEncryptionResult{}, err
			}
			if s.shake.secure.cipher, err = seal.ForClient(key); err != nil {
				return mgs.KMSEncryptionResult{}, err
			}
			s.link.SetCipher(s.shake.secure.cipher)
			return mgs.KMSEncryptionResult{KMSCipherTextKey: sealed, ChallengeAcknowledgement: p.Challenge != ""}, nil
		})
		s.shakeHands(now)
		s.mu.Unlock()
		signal(s.wake)
		signal(s.readable)
	})
}

func (s *Session) dataKey(ctx context.Context, p mgs.KMSEncryptionParameters) (key, sealed []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, keyWithin)
	defer cancel()
	return s.opt.DataKey(ctx, p.KMSKeyId, p.Challenge)
}

// encrypted is the outcome of a wish for encryption.
func encrypted(key func() (mgs.KMSEncryptionResult, error)) mgs.ProcessedClientAction {
	done := mgs.ProcessedClientAction{ActionType: mgs.ActionKMSEncryption, ActionStatus: mgs.ActionFailed}
	result, err := key()
	if err == nil {
		done.ActionResult, err = json.Marshal(result)
	}
	if err != nil {
		done.Error = "Failed to process action KMSEncryption: " + err.Error()
		return done
	}
	done.ActionStatus = mgs.ActionSuccess
	return done
}

// prove shows the agent that we have the key. It is done once and for a
// challenge of the right size only: whoever stands between must not be able to
// have anything else of the agent's sealed by us. With s.mu.
func (s *Session) prove(now time.Time, p []byte) {
	if s.shake.secure.cipher == nil || s.shake.secure.proved || s.shake.over {
		s.complain("encryption", errors.New("an encryption challenge came where none belongs"))
		return
	}
	s.shake.secure.proved = true
	r, err := mgs.Decode[mgs.EncChallenge](p)
	var plain, answer []byte
	if err == nil {
		plain, err = s.shake.secure.cipher.Open(r.Challenge)
	}
	if err == nil && len(plain) != seal.ChallengeSize {
		err = fmt.Errorf("%d bytes are no challenge", len(plain))
	}
	if err == nil {
		answer, err = json.Marshal(mgs.EncChallenge{Challenge: s.shake.secure.cipher.Seal(nil, plain)})
	}
	if err == nil {
		_, err = s.link.PushWhole(now, mgs.PayloadEncChallengeResponse, answer)
	}
	if err != nil {
		s.refuse(fmt.Sprintf("the agent does not have the session's key (its encryption challenge is unusable): %v", err))
	}
}

// next takes a payload from the link. What cannot be opened ends the session,
// unused. With s.mu.
func (s *Session) next() (payloadType uint32, p []byte, ok bool) {
	payloadType, p, ok = s.link.Next()
	if ok {
		return payloadType, p, true
	}
	if err := s.link.Forged(); err != nil && !s.over() {
		s.finishLocked(End{Failed, fmt.Sprintf("the session is encrypted, but what came from the node cannot be opened, and was not used: %v", err)})
		s.shake.forged = true
	}
	return 0, nil, false
}

// abandon ends what we no longer trust: the shell is not to stay behind.
func (s *Session) abandon(ctx context.Context) {
	s.mu.Lock()
	forged := s.shake.forged
	s.mu.Unlock()
	if !forged || s.opt.Terminate == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.policy.resumeWithin)
	defer cancel()
	if err := s.opt.Terminate(ctx); err != nil {
		s.opt.Log.Warn("the session could not be terminated", "error", err)
	}
}
