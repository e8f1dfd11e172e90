package vault

import (
	"errors"
	"testing"

	"ssmagent/internal/fsys/fsystest"
)

func TestGiven(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	put(t, disk, "/run/credentials/agent/ssmagent.RegistrationKey", string(withSum([]byte(object))))
	put(t, disk, "/run/credentials/agent/ssmagent.InstanceFingerprint", "{}")
	v := New(disk, data)
	if _, err := v.Get(RegistrationKey); !errors.Is(err, ErrNotFound) || v.Given(RegistrationKey) {
		t.Errorf("taken unasked: %v", err)
	}
	v.TakeFrom("/run/credentials/agent")
	if got, err := v.Get(RegistrationKey); err != nil || string(got) != object || !v.Given(RegistrationKey) {
		t.Errorf("%s, %v", got, err)
	}
	if err := v.Put(RegistrationKey, []byte("{}")); !errors.Is(err, ErrGiven) {
		t.Errorf("put: %v", err)
	}
	if err := v.Delete(RegistrationKey); !errors.Is(err, ErrGiven) {
		t.Errorf("delete: %v", err)
	}
	if err := v.Confirm(RegistrationKey); err != nil {
		t.Errorf("confirm: %v", err)
	}
	if _, err := v.Get(InstanceFingerprint); !errors.Is(err, ErrNotFound) {
		t.Errorf("a value that changes is taken from there: %v", err)
	}
	put(t, disk, "/run/credentials/agent/ssmagent.RegistrationKey", string(withSum([]byte(object)))[1:])
	if _, err := v.Get(RegistrationKey); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
	if err := disk.Remove("/run/credentials/agent/ssmagent.RegistrationKey"); err != nil {
		t.Fatal(err)
	}
	if err := v.Put(RegistrationKey, []byte(object)); err != nil {
		t.Errorf("with nothing given: %v", err)
	}
}
