package identity

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/vault"
)

func stored(t *testing.T, v *vault.Vault) *rsa.PrivateKey {
	t.Helper()
	r, err := loadRegistration(v)
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.key()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRotation: on request, or by age; the new key is the service's and the
// disk's, whichever answer gets lost; a refusal keeps the old one.
func TestRotation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(*service, *Options)
		rotated bool
	}{
		"asked":       {func(s *service, _ *Options) { s.update = true }, true},
		"not asked":   {func(*service, *Options) {}, false},
		"answer lost": {func(s *service, _ *Options) { s.update, s.lose = true, keyOp }, true},
		"refused":     {func(s *service, _ *Options) { s.update, s.refuse = true, refuseOp(keyOp, 400, "ValidationException") }, false},
		"young":       {func(_ *service, o *Options) { o.AutoRotateDays = 2 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
				tc.change(s, &o)
				p := NewProvider(o)
				stop := running(t, p)
				after(10 * time.Second)
				stop()
				key := stored(t, o.Vault)
				if changed := !key.Equal(o.Key); changed != tc.rotated {
					t.Errorf("changed: %v", changed)
				}
				if !key.PublicKey.Equal(s.public) {
					t.Error("disk and service have different keys")
				}
				if _, err := o.Vault.Get(pendingKey); !errors.Is(err, vault.ErrNotFound) {
					t.Errorf("a key is left over: %v", err)
				}
				s.lose, s.refuse = "", nil
				if _, err := NewProvider(node(t, s, disk)).Credentials(t.Context()); err != nil {
					t.Errorf("after a restart: %v", err)
				}
				p.Invalidate()
				after(31 * time.Second)
				p.Invalidate()
				if _, err := p.Credentials(t.Context()); err != nil {
					t.Errorf("the running agent: %v", err)
				}
			})
		})
	}
}

func TestRotationByAge(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		o.AutoRotateDays = 2
		stop := running(t, NewProvider(o))
		after(47 * time.Hour)
		if n := s.count(keyOp); n != 0 {
			t.Errorf("%d changes too early", n)
		}
		after(3 * time.Hour)
		if n := s.count(keyOp); n != 1 {
			t.Errorf("%d changes after two days", n)
		}
		stop()
	})
}

// TestRotationOnBadDisk stops the machine at every write of a change of keys:
// after it the node has a key that the service takes.
func TestRotationOnBadDisk(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{true, false} {
		for n, ended := 1, false; !ended; n++ {
			bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
				s.update = true
				before := disk.Ops()
				if crash {
					disk.StopAt(before + n)
				} else {
					disk.Fail(func(op fsystest.Op) error {
						if op.N == before+n {
							return errors.New("input/output error")
						}
						return nil
					})
				}
				stop := running(t, NewProvider(o))
				after(10 * time.Second)
				stop()
				ended = disk.Ops() < before+n
				disk.Fail(nil)
				if crash {
					disk.Crash(fsystest.Nothing())
				}
				s.update = false
				if _, err := NewProvider(node(t, s, disk)).Credentials(t.Context()); err != nil {
					t.Errorf("operation %d, crash %v: %v", n, crash, err)
				}
				if !stored(t, o.Vault).PublicKey.Equal(s.public) {
					t.Errorf("operation %d, crash %v: the disk has not the service's key", n, crash)
				}
			})
		}
	}
}

// TestGivenKeyIsNotRotated: a key that cannot be stored is not made known to
// the service, whatever asks for a new one.
func TestGivenKeyIsNotRotated(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
		const dir = "/run/credentials/agent"
		if err := fsys.MkdirAll(disk, dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, disk, dir+"/ssmagent.RegistrationKey", []byte(read(t, disk, "/data/Vault/Store/RegistrationKey")))
		o.Vault.TakeFrom(dir)
		s.update = true
		var told bytes.Buffer
		o.Log = slog.New(slog.NewTextHandler(&told, nil))
		stop := running(t, NewProvider(o))
		after(2 * time.Hour)
		stop()
		if n := s.count("UpdateManagedInstancePublicKey"); n != 0 || s.count(tokenOp) == 0 {
			t.Errorf("%d new keys, %d tokens", n, s.count(tokenOp))
		}
		if !strings.Contains(told.String(), "service manager's credentials") {
			t.Errorf("nobody was told: %s", told.String())
		}
	})
}
