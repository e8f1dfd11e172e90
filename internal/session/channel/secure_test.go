package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/seal"
	"ssmagent/internal/wire/mgs"
)

var (
	dataKey   = append(bytes.Repeat([]byte{3}, seal.KeySize/2), bytes.Repeat([]byte{4}, seal.KeySize/2)...)
	sealedKey = []byte("sealed")
)

// opens is a KMS that knows one sealed key.
func opens(_ context.Context, sealed []byte, _ string) ([]byte, error) {
	if !bytes.Equal(sealed, sealedKey) {
		return nil, errors.New("InvalidCiphertextException")
	}
	return dataKey, nil
}

// secret makes c a client that encrypts. change alters what it says of it.
func secret(c *client, ours bool, change func(*mgs.HandshakeResponse)) {
	if c.encryption == nil {
		c.encryption = &Encryption{KeyID: "alias/shells", Open: opens}
	}
	cipher, err := seal.ForClient(dataKey)
	if err != nil {
		c.t.Fatal(err)
	}
	c.answer = func(c *client, req mgs.HandshakeRequest) {
		result, _ := json.Marshal(mgs.KMSEncryptionResult{KMSCipherTextKey: sealedKey, ChallengeAcknowledgement: ours})
		r := mgs.HandshakeResponse{ClientVersion: "1.3.0.0", ProcessedClientActions: append(done(mgs.ActionSuccess, ""),
			mgs.ProcessedClientAction{ActionType: mgs.ActionKMSEncryption, ActionStatus: mgs.ActionSuccess, ActionResult: result})}
		if ours {
			r.Extensions, _ = mgs.EncodeExtension(mgs.Extension{MaxPayload: mgs.LargePayload})
		}
		if change != nil {
			change(&r)
		}
		c.link.SetCipher(cipher)
		c.respond(r)
		if ours {
			c.send(size(111, 33))
		}
	}
	c.challenged = func(c *client, blob []byte) {
		plain, err := cipher.Open(blob)
		if err != nil {
			c.t.Error(err)
		}
		b, _ := json.Marshal(mgs.EncChallenge{Challenge: cipher.Seal(nil, plain)})
		c.send(payload{mgs.PayloadEncChallengeResponse, b})
		if !ours {
			time.AfterFunc(30*time.Millisecond, func() { c.push <- size(111, 33) })
		}
	}
}

// TestEncrypted: what both sides write is sealed, and nothing else is.
func TestEncrypted(t *testing.T) {
	for name, ours := range map[string]bool{"ours": true, "stock": false} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *client) { secret(c, ours, nil) }, nil, func(l *lab) {
				g, took, err := l.greet()
				if err != nil || g.Size != (mgs.Size{Cols: 111, Rows: 33}) || g.Peer.Ours != ours || took > 40*time.Millisecond {
					t.Fatalf("%+v after %v, %v", g, took, err)
				}
				text := []byte(strings.Repeat("a very secret text ", 200))
				if err := l.ch.Write(l.ctx, text); err != nil {
					t.Fatal(err)
				}
				l.client.push <- payload{mgs.PayloadOutput, []byte("typed secret")}
				p, err := l.ch.Next(l.ctx)
				if err != nil || string(p.Bytes) != "typed secret" {
					t.Errorf("%q %v", p.Bytes, err)
				}
				var told *mgs.Exit
				if ours {
					told = &mgs.Exit{Code: 42}
				}
				l.ch.Finish(l.ctx, told)
				synctest.Wait()
				if !bytes.Equal(l.client.out.Bytes(), text) || l.client.complete != 1 || l.client.customer != customerMessage {
					t.Errorf("%d bytes, %d completions, %q", l.client.out.Len(), l.client.complete, l.client.customer)
				}
				if codes := len(l.client.got); ours && (codes != 1 || string(l.client.got[0].b) != "EXIT_CODE: 42") {
					t.Errorf("got %v", l.client.got)
				}
				for _, b := range l.client.clear {
					if bytes.Contains(b, []byte("secret")) || bytes.Contains(b, []byte("EXIT_CODE")) {
						t.Errorf("in clear: %q", b)
					}
				}
				var a mgs.KMSEncryptionParameters
				if n := len(l.client.request.RequestedClientActions); n != 2 || json.Unmarshal(l.client.request.RequestedClientActions[1].ActionParameters, &a) != nil ||
					a.KMSKeyId != "alias/shells" || len(a.Challenge) != 24 {
					t.Errorf("%d actions, %+v", n, a)
				}
			})
		})
	}
}

// TestChallengeGoesToKMS only when the client took it up.
func TestChallengeGoesToKMS(t *testing.T) {
	for name, ours := range map[string]bool{"taken up": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *client) {
				c.encryption = &Encryption{KeyID: "k", Acknowledge: ours, Open: func(ctx context.Context, sealed []byte, challenge string) ([]byte, error) {
					var a mgs.KMSEncryptionParameters
					_ = json.Unmarshal(c.request.RequestedClientActions[1].ActionParameters, &a)
					if want := map[bool]string{true: a.Challenge}[ours]; challenge != want {
						t.Errorf("challenge %q, want %q", challenge, want)
					}
					return opens(ctx, sealed, challenge)
				}}
				secret(c, ours, nil)
			}, nil, func(l *lab) {
				if _, _, err := l.greet(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestNotEncrypted: whatever goes wrong, the session ends with one sentence and
// nothing of it is sent or taken.
func TestNotEncrypted(t *testing.T) {
	action := func(f func(*mgs.ProcessedClientAction)) func(*client) {
		return func(c *client) {
			secret(c, false, func(r *mgs.HandshakeResponse) { f(&r.ProcessedClientActions[1]) })
		}
	}
	for _, tc := range []struct {
		name   string
		client func(*client)
		says   string
		is     error
		after  time.Duration
	}{
		{"the client cannot", action(func(a *mgs.ProcessedClientAction) { a.ActionStatus, a.Error = mgs.ActionFailed, "no key for you" }), "no key for you", ErrRefused, 0},
		{"the client does not know it", action(func(a *mgs.ProcessedClientAction) { a.ActionStatus = 0 }), "", ErrRefused, 0},
		{"the client leaves it out", func(c *client) {
			secret(c, false, func(r *mgs.HandshakeResponse) { r.ProcessedClientActions = r.ProcessedClientActions[:1] })
		}, "does not say that it encrypts", ErrInsecure, 0},
		{"garbage", action(func(a *mgs.ProcessedClientAction) { a.ActionResult = json.RawMessage(`7`) }), "answer to KMSEncryption", ErrInsecure, 0},
		{"another key", action(func(a *mgs.ProcessedClientAction) { a.ActionResult = json.RawMessage(`{"KMSCipherTextKey":"YQ=="}`) }), "cannot open the data key: InvalidCiphertextException", ErrInsecure, 0},
		{"a short key", func(c *client) {
			c.encryption = &Encryption{Open: func(context.Context, []byte, string) ([]byte, error) { return dataKey[1:], nil }}
			secret(c, false, nil)
		}, "63 bytes", ErrInsecure, 0},
		{"KMS hangs", func(c *client) {
			c.encryption = &Encryption{Open: func(ctx context.Context, _ []byte, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }}
			secret(c, false, nil)
		}, "deadline", ErrInsecure, openWithin},
		{"no challenge taken up", func(c *client) {
			c.encryption = &Encryption{Acknowledge: true, Open: opens}
			secret(c, false, nil)
		}, "RequireKMSChallengeResponse to false", ErrInsecure, 0},
		{"the wrong answer", func(c *client) {
			secret(c, false, nil)
			c.challenged = func(c *client, _ []byte) {
				cipher, _ := seal.ForClient(dataKey)
				b, _ := json.Marshal(mgs.EncChallenge{Challenge: cipher.Seal(nil, seal.NewChallenge())})
				c.send(payload{mgs.PayloadEncChallengeResponse, b})
			}
		}, "came back wrong", ErrInsecure, 0},
		{"an answer without the key", func(c *client) {
			secret(c, false, nil)
			c.challenged = func(c *client, blob []byte) {
				b, _ := json.Marshal(mgs.EncChallenge{Challenge: blob})
				c.send(payload{mgs.PayloadEncChallengeResponse, b})
			}
		}, "came back wrong", ErrInsecure, 0},
		{"no answer to the challenge", func(c *client) {
			secret(c, false, nil)
			c.challenged = nil
		}, "did not answer the encryption challenge within 15s", ErrInsecure, clientWithin},
		{"no handshake", func(c *client) {
			c.encryption = &Encryption{Open: opens}
			c.push <- payload{mgs.PayloadOutput, []byte("rm -rf /\n")}
		}, "did not answer the handshake within 15s", ErrInsecure, clientWithin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, tc.client, nil, func(l *lab) {
				g, took, err := l.greet()
				if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") || g.First != nil {
					t.Fatalf("%+v, %v", g, err)
				}
				if took < tc.after || took > tc.after+100*time.Millisecond {
					t.Errorf("after %v", took)
				}
				if !errors.Is(l.ch.Err(), tc.is) {
					t.Errorf("the channel says %v", l.ch.Err())
				}
				if err := l.ch.Write(l.ctx, []byte("secret")); !errors.Is(err, ErrGone) {
					t.Errorf("written after it: %v", err)
				}
				synctest.Wait()
				if l.client.complete != 0 || l.client.out.Len() != 0 {
					t.Errorf("%d completions, output %q", l.client.complete, l.client.out.Bytes())
				}
			})
		})
	}
}

// TestClearInput: input that is not sealed ends an encrypted session unused.
func TestClearInput(t *testing.T) {
	run(t, func(c *client) { secret(c, true, nil) }, nil, func(l *lab) {
		if _, _, err := l.greet(); err != nil {
			t.Fatal(err)
		}
		l.client.link.SetCipher(nil)
		l.client.push <- payload{mgs.PayloadOutput, []byte("an injected line that was never sealed\n")}
		if p, err := l.ch.Next(l.ctx); !errors.Is(err, ErrGone) {
			t.Errorf("%q %v", p.Bytes, err)
		}
		if err := l.ch.Err(); !errors.Is(err, ErrInsecure) || !errors.Is(err, seal.ErrForged) || !strings.Contains(err.Error(), "was not used") {
			t.Errorf("%v", err)
		}
	})
}
