package vault

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/fsys/fsystest"
)

const secretObject = `{"instanceID":"mi-0a1b2c3d4e5f60718","region":"eu-west-1","privateKey":"c2VjcmV0"}`

// mirror seals for the machine that it is the name of.
func mirror(machine string) Sealer {
	turned := func(b []byte) []byte { b = bytes.Clone(b); slices.Reverse(b); return b }
	return Sealer{
		Seal: func(b []byte) ([]byte, error) { return append([]byte(machine), turned(b)...), nil },
		Open: func(b []byte) ([]byte, error) {
			b, ok := bytes.CutPrefix(b, []byte(machine))
			if !ok {
				return nil, errors.New("another machine's")
			}
			return turned(b), nil
		},
	}
}

func sealing(disk *fsystest.Disk, machine string, keep bool) *Vault {
	v := New(disk, data)
	v.SealBy(mirror(machine), keep)
	return v
}

func TestSealed(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	v := sealing(disk, "a", true)
	for _, key := range []string{RegistrationKey, "RegistrationKeyPending", EC2RegistrationKey, InstanceFingerprint} {
		if err := v.Put(key, []byte(secretObject)); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(key); err != nil || string(got) != secretObject {
			t.Errorf("%s: %s, %v", key, got, err)
		}
		raw := read(t, disk, "/data/Vault/Store/"+key)
		if plain := strings.Contains(raw, "privateKey"); plain != (key == InstanceFingerprint) || !strings.Contains(raw, sumMember) {
			t.Errorf("%s: %s", key, raw)
		}
		if got, err := sealing(disk, "a", false).Get(key); err != nil || string(got) != secretObject {
			t.Errorf("%s, by who would not seal it: %s, %v", key, got, err)
		}
		if key == InstanceFingerprint {
			continue
		}
		for name, other := range map[string]*Vault{"another machine": sealing(disk, "b", true), "a system without": New(disk, data)} {
			got, err := other.Get(key)
			if !errors.Is(err, ErrSealed) || got != nil || !strings.Contains(err.Error(), "was sealed on another machine") {
				t.Errorf("%s, %s: %q, %v", key, name, got, err)
			}
			if err := other.Settle(); !errors.Is(err, ErrSealed) && name == "a system without" {
				t.Errorf("%s, %s: settled: %v", key, name, err)
			}
		}
		if read(t, disk, "/data/Vault/Store/"+key) != raw {
			t.Errorf("%s: it is not kept as it was", key)
		}
	}
	// A cleared registration is for everybody to read.
	if err := v.Put(RegistrationKey, []byte(`{"instanceID":"","privateKey":""}`)); err != nil {
		t.Fatal(err)
	}
	if raw := read(t, disk, "/data/Vault/Store/RegistrationKey"); !strings.Contains(raw, "instanceID") {
		t.Errorf("%s", raw)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	if err := sealing(disk, "a", true).Settle(); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	plain := New(disk, data)
	all := []string{RegistrationKey, "RegistrationKeyPending", EC2RegistrationKey}
	for _, key := range all {
		if err := plain.Put(key, []byte(secretObject)); err != nil {
			t.Fatal(err)
		}
	}
	for _, keep := range []bool{true, true, false, false} {
		if err := sealing(disk, "a", keep).Settle(); err != nil {
			t.Fatal(err)
		}
		for _, key := range all {
			if raw := read(t, disk, "/data/Vault/Store/"+key); strings.Contains(raw, "privateKey") == keep {
				t.Errorf("%v: %s", keep, raw)
			}
			if got, err := sealing(disk, "a", !keep).Get(key); err != nil || string(got) != secretObject {
				t.Errorf("%v: %s, %v", keep, got, err)
			}
		}
	}
	broken := New(disk, data)
	broken.SealBy(Sealer{Seal: func([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }}, true)
	if err := broken.Settle(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if got, err := plain.Get(RegistrationKey); err != nil || string(got) != secretObject {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzSealed(f *testing.F) {
	f.Add([]byte(secretObject))
	f.Add([]byte(`{"ssmagentSealed":"YQ=="}`))
	f.Add([]byte(`{"ssmagentSealed":"YQ==","x":1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if sealed, ok := sealedValue(value); ok && len(sealed) == 0 {
			t.Errorf("%q holds nothing", value)
		}
		v := sealing(fsystest.NewDisk(), "m", true)
		raw, err := v.seal(RegistrationKey, value)
		if err != nil || !holdsKey(value) {
			return
		}
		sealed, ok := sealedValue(raw)
		if !ok {
			t.Fatalf("%q is not sealed: %q", value, raw)
		}
		if got, err := v.open(RegistrationKey, sealed); err != nil || !bytes.Equal(got, value) {
			t.Errorf("%q became %q, %v", value, got, err)
		}
	})
}
