package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/fingerprint"
	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/vault"
)

const printFile = "/data/Vault/Store/InstanceFingerprint"

// printed is the fingerprint record on disk.
func printed(t *testing.T, disk *fsystest.Disk) fingerprint.Record {
	t.Helper()
	r, err := fingerprint.Load([]byte(read(t, disk, printFile)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFingerprintOfTheSameMachine: it is kept, and nothing is written.
func TestFingerprintOfTheSameMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		_, disk := registeredNode(t, s)
		v := vault.New(disk, data)
		was := content(t, disk)
		for name, tc := range map[string]struct {
			hw   Hardware
			took time.Duration
			err  string
		}{
			"same":         {facts(), 0, ""},
			"new name":     {facts("hostname-info", "other"), 0, ""},
			"new address":  {facts("ipaddress-info", "192.0.2.99"), 0, ""},
			"cannot tell":  {func(context.Context) (map[string]string, error) { return nil, errors.New("no hardware") }, 10 * time.Second, "no hardware"},
			"not UTF-8":    {facts("hostname-info", "\xff"), 10 * time.Second, "invalid"},
			"late, at all": {late(2), 10 * time.Second, ""},
		} {
			start := time.Now()
			got, err := Fingerprint(t.Context(), v, tc.hw, clock.Real{}, quiet())
			if (err == nil) != (tc.err == "") || err == nil && got != s.print || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if took := time.Since(start); took != tc.took {
				t.Errorf("%s: took %v", name, took)
			}
			if now := content(t, disk); now[printFile] != was[printFile] {
				t.Errorf("%s: something was written", name)
			}
		}
	})
}

// TestClone: another machine gets a fingerprint of its own, which the service
// refuses; it says so, and what it was registered as comes back with the machine.
func TestClone(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]Hardware{
		"new id":  facts("machine-id", "other\n"),
		"all new": facts("ipaddress-info", "1", "hostname-info", "2", "macaddr-info", "3", "ssmagent-bios", "4"),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			o, disk := registeredNode(t, s)
			v := vault.New(disk, data)
			var told bytes.Buffer
			log := slog.New(slog.NewTextHandler(&told, nil))
			o.Fingerprint = func(ctx context.Context) (string, error) { return Fingerprint(ctx, v, other, clock.Real{}, log) }
			_, err := NewProvider(o).Credentials(t.Context())
			if err == nil || !strings.Contains(err.Error(), "MachineFingerprintDoesNotMatch") || !strings.Contains(err.Error(), "a clone") || !strings.Contains(err.Error(), "-register") {
				t.Errorf("%s: %v", name, err)
			}
			first := printed(t, disk)
			if first.Fingerprint == s.print || first.SimilarityThreshold != 40 {
				t.Errorf("%s: stored %+v", name, first)
			}
			if !strings.Contains(told.String(), "is a clone of the one that was registered") || !strings.Contains(told.String(), "property=") {
				t.Errorf("%s: log %s", name, told.String())
			}
			told.Reset() // it says so again after a restart, and keeps its own
			if again, err := Fingerprint(t.Context(), v, other, clock.Real{}, log); err != nil || again != first.Fingerprint || !strings.Contains(told.String(), "is a clone") {
				t.Errorf("%s: %s, %v, %s", name, again, err, told.String())
			}
			told.Reset()
			back, err := Fingerprint(t.Context(), v, facts(), clock.Real{}, log)
			if err != nil || back != s.print || told.Len() != 0 {
				t.Errorf("%s: the registered machine is %s, %v, %s", name, back, err, told.String())
			}
			if _, err := v.Get(formerKey); !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("%s: the former record is still there: %v", name, err)
			}
		})
	}
}

// TestThresholdMakesItTheSameMachine: the remedy that the log names works.
func TestThresholdMakesItTheSameMachine(t *testing.T) {
	t.Parallel()
	for _, threshold := range []int{1, fingerprint.Disabled} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			_, disk := registeredNode(t, s)
			v := vault.New(disk, data)
			moved := facts("ipaddress-info", "1", "hostname-info", "2", "macaddr-info", "3", "ssmagent-bios", "4")
			if got, err := Fingerprint(t.Context(), v, moved, clock.Real{}, quiet()); err != nil || got == s.print {
				t.Fatalf("%s, %v", got, err)
			}
			if err := SetThreshold(v, threshold); err != nil {
				t.Fatal(err)
			}
			if got, err := Fingerprint(t.Context(), v, moved, clock.Real{}, quiet()); err != nil || got != s.print {
				t.Errorf("threshold %d: %s, %v", threshold, got, err)
			}
			if r := printed(t, disk); r.SimilarityThreshold != threshold || r.Fingerprint != s.print {
				t.Errorf("threshold %d: %+v", threshold, r)
			}
		})
	}
}

// TestCloneRegistersAnew: the new registration has the clone's own fingerprint,
// and nothing of the old one is left to come back.
func TestCloneRegistersAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		_, disk := registeredNode(t, s)
		v, d := vault.New(disk, data), deps(s, disk)
		old := s.print
		d.Hardware = facts("machine-id", "other\n")
		if _, err := Fingerprint(t.Context(), v, d.Hardware, clock.Real{}, quiet()); err != nil {
			t.Fatal(err)
		}
		o := activation()
		o.Yes = true
		if _, err := Register(t.Context(), d, o); err != nil || s.print == old {
			t.Fatalf("%v, registered with %s", err, s.print)
		}
		if _, err := v.Get(formerKey); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("the former record is still there: %v", err)
		}
		if got, err := Fingerprint(t.Context(), v, d.Hardware, clock.Real{}, quiet()); err != nil || got != s.print {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// TestCloneOnBadDisk fails each operation of the disk while a mismatch is
// noted: the registered machine finds its fingerprint again.
func TestCloneOnBadDisk(t *testing.T) {
	t.Parallel()
	for n, ended := 1, false; !ended; n++ {
		s := newService(t)
		_, disk := registeredNode(t, s)
		disk.StopAt(disk.Ops() + n)
		_, err := Fingerprint(t.Context(), vault.New(disk, data), facts("machine-id", "other\n"), instant{}, quiet())
		ended = err == nil
		disk.Crash(fsystest.Nothing())
		if got, err := Fingerprint(t.Context(), vault.New(disk, data), facts(), instant{}, quiet()); err != nil || got != s.print {
			t.Fatalf("operation %d: %s, %v", n, got, err)
		}
	}
}

// TestDamagedFingerprint: it is refused with a remedy and kept as it is.
func TestDamagedFingerprint(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, disk := registeredNode(t, s)
	v := vault.New(disk, data)
	if err := v.Put(vault.InstanceFingerprint, []byte("{torn")); err != nil {
		t.Fatal(err)
	}
	if _, err := Fingerprint(t.Context(), v, facts(), clock.Real{}, quiet()); err == nil || !strings.Contains(err.Error(), "-clear") {
		t.Errorf("a damaged record: %v", err)
	}
	if _, err := Register(t.Context(), deps(s, disk), RegisterOptions{Code: code, ID: actID, Region: "eu-west-1", Yes: true}); err == nil {
		t.Error("a damaged record was replaced in silence")
	}
	if err := v.Delete(vault.InstanceFingerprint); err != nil {
		t.Fatal(err)
	}
	if _, err := Fingerprint(t.Context(), v, facts(), clock.Real{}, quiet()); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("no record: %v", err)
	}
}

// TestStockRecordGetsASum once the service has taken it, and not before.
func TestStockRecordGetsASum(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, disk *fsystest.Disk) {
		const file = "/data/Vault/Store/RegistrationKey"
		var rec registration
		if err := json.Unmarshal([]byte(read(t, disk, file)), &rec); err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		write(t, disk, file, plain)
		s.refusing(refuseOp(tokenOp, 400, "InvalidSignatureException"))
		p := NewProvider(o)
		if _, err := p.Credentials(t.Context()); err == nil {
			t.Fatal("no refusal")
		}
		if got := read(t, disk, file); got != string(plain) {
			t.Errorf("written before it was proved: %s", got)
		}
		s.refusing(nil)
		after(time.Hour)
		if _, err := p.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, disk, file); !strings.Contains(got, `"ssmagentSHA256"`) {
			t.Errorf("no sum: %s", got)
		}
	})
}
