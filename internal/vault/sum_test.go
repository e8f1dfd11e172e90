package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"ssmagent/internal/fsys/fsystest"
)

const object = `{"instanceID":"mi-0a1b2c3d4e5f60718","region":"eu-west-1"}`

func TestSum(t *testing.T) {
	t.Parallel()
	for _, value := range []string{object, "{}", `{"a":{"b":[1,2]}}`, `{"a":"x,"}`} {
		raw := withSum([]byte(value))
		if !bytes.Contains(raw, []byte(sumMember)) {
			t.Errorf("%s: no sum: %s", value, raw)
		}
		for _, ending := range []string{"", "\n"} {
			got, had, err := withoutSum(append(bytes.Clone(raw), ending...))
			if err != nil || !had || string(got) != value {
				t.Errorf("%s: %s, %v, %v", value, got, had, err)
			}
		}
	}
	for _, value := range []string{"", "x", "[1]", "{torn", "null"} {
		if raw := withSum([]byte(value)); string(raw) != value {
			t.Errorf("%q became %q", value, raw)
		}
	}
}

// TestDamage changes each byte of a value and cuts it at each length: what is
// read is what was written, or no JSON, or it is said to be damaged.
func TestDamage(t *testing.T) {
	t.Parallel()
	whole := withSum([]byte(object))
	try := func(raw []byte, what string, at int) {
		t.Helper()
		disk := fsystest.NewDisk()
		v := New(disk, data)
		if err := v.Put(RegistrationKey, []byte(object)); err != nil {
			t.Fatal(err)
		}
		put(t, disk, "/data/Vault/Store/RegistrationKey", string(raw))
		got, err := v.Get(RegistrationKey)
		switch {
		case errors.Is(err, ErrDamaged), err == nil && bytes.HasPrefix(got, []byte(object[:len(object)-1])):
		case err == nil && what == "cut":
		default:
			t.Errorf("%s at %d: %q, %v", what, at, got, err)
		}
	}
	for at := range whole {
		for _, bit := range []byte{0x01, 0x20, 0x80} {
			raw := bytes.Clone(whole)
			raw[at] ^= bit
			try(raw, "changed", at)
		}
		try(whole[:at], "cut", at)
	}
}

// TestIndexForgetsNobody: what the manifest does not list is there all the
// same; what it lists and is not there is damage and no fresh start.
func TestIndexForgetsNobody(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	v := New(disk, data)
	if err := v.Put(RegistrationKey, []byte(object)); err != nil {
		t.Fatal(err)
	}
	put(t, disk, "/data/Vault/Manifest", `{"RegistrationKez":"/x"}`)
	if got, err := v.Get(RegistrationKey); err != nil || string(got) != object {
		t.Errorf("%s, %v", got, err)
	}
	put(t, disk, "/data/Vault/Manifest", `{"RegistrationKey":"/x"}`)
	if err := disk.Remove("/data/Vault/Store/RegistrationKey"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(RegistrationKey); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("%v", err)
	}
	if err := v.Put(RegistrationKey, []byte("{}")); err != nil {
		t.Errorf("it cannot be mended: %v", err)
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	v := New(disk, data)
	if err := v.Confirm(RegistrationKey); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := v.Put(RegistrationKey, nil); err != nil {
		t.Fatal(err)
	}
	put(t, disk, "/data/Vault/Store/RegistrationKey", object)
	for range 2 {
		if err := v.Confirm(RegistrationKey); err != nil {
			t.Fatal(err)
		}
		if got := read(t, disk, "/data/Vault/Store/RegistrationKey"); got != string(withSum([]byte(object))) {
			t.Errorf("%s", got)
		}
	}
	put(t, disk, "/data/Vault/Store/RegistrationKey", strings.Replace(string(withSum([]byte(object))), "mi-0", "mi-1", 1))
	if err := v.Confirm(RegistrationKey); !errors.Is(err, ErrDamaged) {
		t.Errorf("damage was confirmed: %v", err)
	}
}

func FuzzSum(f *testing.F) {
	f.Add(withSum([]byte(object)))
	f.Add([]byte(sumMember))
	f.Add([]byte(`{` + sumMember + `"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		value, had, err := withoutSum(raw)
		if err == nil && had && !bytes.Equal(withSum(value), bytes.TrimSpace(raw)) || err == nil && !had && !bytes.Equal(value, raw) {
			t.Errorf("%q of %q", value, raw)
		}
		if got, had, err := withoutSum(withSum(value)); err == nil && had && !bytes.Equal(got, bytes.TrimSpace(value)) {
			t.Errorf("%q became %q", value, got)
		}
	})
}
