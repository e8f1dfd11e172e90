package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"ssmagent/internal/fsys"
)

// givenPrefix is that of the names which our values have among a service's
// credentials.
const givenPrefix = "ssmagent."

// ErrGiven says that a value comes from the service manager.
var ErrGiven = errors.New("comes from the service manager's credentials, which the agent cannot change; make it anew there")

// TakeFrom has the registration, with its private key, come from dir if it is
// there: the folder in which a service manager puts a service's credentials
// (systemd: LoadCredentialEncrypted=ssmagent.RegistrationKey). It must be
// called before the vault is used.
func (v *Vault) TakeFrom(dir string) { v.given = dir }

// Given says whether key comes from the service manager.
func (v *Vault) Given(key string) bool {
	if v.given == "" || key != RegistrationKey {
		return false
	}
	_, err := v.fs.Lstat(v.givenPath(key))
	return !errors.Is(err, fs.ErrNotExist)
}

func (v *Vault) givenPath(key string) string { return filepath.Join(v.given, givenPrefix+key) }

func (v *Vault) getGiven(key string) ([]byte, error) {
	raw, err := fsys.ReadFile(v.fs, v.givenPath(key), MaxValue)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	value, _, err := withoutSum(raw)
	if err != nil {
		return nil, fmt.Errorf("vault: %s: %w", v.givenPath(key), err)
	}
	return value, nil
}
