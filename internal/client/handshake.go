package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/stream"
	"ssmagent/internal/wire/mgs"
)

// maxActions bounds what one handshake may ask for.
const maxActions = 16

// shake is how far the handshake is.
type shake struct {
	answered bool // the one response is on its way
	waiting  bool // or waits for a data key
	over     bool // the rest is for Next
	forged   bool // something came that cannot be opened
	secure   securing
}

// shakeHands takes payload until the handshake is over: completed, or never
// begun by an agent that starts with output. With s.mu.
func (s *Session) shakeHands(now time.Time) {
	for !s.shake.over && !s.shake.waiting {
		t, p, ok := s.next()
		if !ok {
			return
		}
		if s.control(now, t, p) {
			continue
		}
		// Output: an agent without a handshake, or one that went on without.
		if !s.shake.answered {
			s.peer.SessionType = mgs.SessionStandardStream
		}
		s.held, s.hasHeld = Message{t, p}, true
		s.start(now)
	}
}

// start lets input flow, the size first.
func (s *Session) start(now time.Time) {
	s.shake.over, s.size.allowed = true, true
	s.pushSize(now)
	s.readyOnce.Do(func() { close(s.ready) })
}

// control deals with the payloads that are not for Next.
func (s *Session) control(now time.Time, payloadType uint32, p []byte) bool {
	switch payloadType {
	case mgs.PayloadHandshakeRequest:
		if !s.shake.answered { // a second answer would block a stock agent
			s.answer(now, p)
		}
	case mgs.PayloadHandshakeComplete:
		c, err := mgs.Decode[mgs.HandshakeComplete](p)
		if err != nil {
			s.complain("handshake", err)
		}
		s.customer = c.CustomerMessage
		s.start(now)
	case mgs.PayloadEncChallengeRequest:
		s.prove(now, p)
	default:
		return false
	}
	return true
}

// answer deals with the handshake request, once: it replies at once, or when
// there is a data key.
func (s *Session) answer(now time.Time, p []byte) {
	s.shake.answered = true
	r, err := mgs.Decode[mgs.HandshakeRequest](p)
	if err == nil && len(r.RequestedClientActions) > maxActions {
		err = fmt.Errorf("it asks for %d actions, at most %d are taken", len(r.RequestedClientActions), maxActions)
	}
	if err != nil {
		s.refuse(fmt.Sprintf("the agent's handshake request is unusable: %v", err))
		return
	}
	s.peer.AgentVersion = printable(r.AgentVersion)
	kms, wanted, err := kmsAction(r)
	if wanted {
		s.link.RequireCipher()
		if err == nil && s.opt.DataKey != nil {
			s.fetchKey(r, kms)
			return
		}
	}
	if wanted && err == nil {
		err = errors.New("this client has no access to KMS; use a session document without kmsKeyId")
	}
	s.reply(now, r, func() (mgs.KMSEncryptionResult, error) { return mgs.KMSEncryptionResult{}, err })
}

// reply sends the handshake response, and to an agent of ours the size right
// behind it. key gives what became of the wish for encryption, if there is one.
func (s *Session) reply(now time.Time, r mgs.HandshakeRequest, key func() (mgs.KMSEncryptionResult, error)) {
	resp := mgs.HandshakeResponse{ClientVersion: s.opt.ClientVersion, ProcessedClientActions: []mgs.ProcessedClientAction{}}
	for _, a := range r.RequestedClientActions {
		var done mgs.ProcessedClientAction
		if a.ActionType == mgs.ActionKMSEncryption {
			done = encrypted(key)
		} else {
			done = s.process(a)
		}
		if done.ActionStatus != mgs.ActionSuccess {
			resp.Errors = append(resp.Errors, done.Error)
			s.refuse(done.Error)
		}
		resp.ProcessedClientActions = append(resp.ProcessedClientActions, done)
	}
	var theirs mgs.Extension
	var err error
	if theirs, s.peer.Ours = mgs.DecodeExtension(r.Extensions); s.peer.Ours {
		if resp.Extensions, err = mgs.EncodeExtension(s.agree(theirs)); err != nil {
			s.complain("handshake", err)
		}
	}
	b, err := json.Marshal(resp)
	if err == nil {
		_, err = s.link.PushWhole(now, mgs.PayloadHandshakeResponse, b)
	}
	if err != nil {
		s.refuse(fmt.Sprintf("the agent's handshake request cannot be answered: %v", err))
		return
	}
	if s.peer.Ours {
		s.link.SetKeep(stream.DefaultWindowBytes)
		if err := s.link.SetPayloadSize(min(theirs.MaxPayload, mgs.LargePayload)); err != nil {
			s.complain("handshake", err)
		}
		s.size.allowed = true
		s.pushSize(now)
	}
}

// agree takes of the agent's offers what we know and want, which then holds.
func (s *Session) agree(theirs mgs.Extension) mgs.Extension {
	mine := mgs.Extension{MaxPayload: mgs.LargePayload}
	if s.opt.Streams && theirs.Streams && s.peer.SessionType == mgs.SessionNonInteractiveCommands {
		mine.Streams = true
	}
	if theirs.Mux >= mgs.MuxWindows && s.peer.SessionType == mgs.SessionPort {
		mine.Mux = mgs.MuxWindows
	}
	s.peer.Streams, s.peer.Mux = mine.Streams, max(mine.Mux, 1)
	return mine
}

// process does what the agent asks for.
func (s *Session) process(a mgs.ClientAction) mgs.ProcessedClientAction {
	done := mgs.ProcessedClientAction{ActionType: a.ActionType, ActionStatus: mgs.ActionFailed}
	switch a.ActionType {
	case mgs.ActionSessionType:
		p, err := mgs.Decode[mgs.SessionTypeParameters](a.ActionParameters)
		if err == nil {
			err = s.accept(p)
		}
		if err != nil {
			done.Error = "Failed to process action SessionType: " + err.Error()
			return done
		}
		s.peer.SessionType, s.peer.Properties = p.SessionType, append([]byte(nil), p.Properties...)
		done.ActionStatus = mgs.ActionSuccess
	default:
		done.ActionStatus = mgs.ActionUnsupported
		done.Error = fmt.Sprintf("Unsupported action %.64q", a.ActionType)
	}
	return done
}

func (s *Session) accept(p mgs.SessionTypeParameters) error {
	switch p.SessionType {
	case mgs.SessionStandardStream, mgs.SessionInteractiveCommands, mgs.SessionNonInteractiveCommands, mgs.SessionPort:
	default:
		return fmt.Errorf("session type %.64q is unknown to this client", p.SessionType)
	}
	if s.opt.Accept == nil {
		return nil
	}
	return s.opt.Accept(p.SessionType, p.Properties)
}

// refuse notes why the session cannot be; the agent is left a moment to end it.
func (s *Session) refuse(why string) {
	if s.refusal == "" {
		s.refusal = why
		close(s.refused)
	}
}

// printable keeps what a version may consist of.
func printable(version string) string {
	if !fourNumbers().MatchString(version) {
		return fmt.Sprintf("%.32q", version)
	}
	return version
}
