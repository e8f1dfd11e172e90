package auth

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Key is an operator's access key.
type Key struct {
	Name   string // its profile
	ID     string
	Secret string
}

// Keys are the operators' access keys.
type Keys []Key

func (k Keys) find(id string) (Key, bool) {
	for _, key := range k {
		if key.ID == id {
			return key, true
		}
	}
	return Key{}, false
}

// First is the key that the control plane itself signs with.
func (k Keys) First() Key { return k[0] }

// LoadKeys reads the access keys from the shared credentials file at path,
// every profile an operator; without a file it makes a key for the profile
// default and writes it, with write, which must give the file its rights.
func LoadKeys(path string, write func(path string, data []byte) error) (Keys, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k := newKey("AKIA")
		k.Name = "default"
		text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", k.ID, k.Secret)
		if err := write(path, []byte(text)); err != nil {
			return nil, fmt.Errorf("write credentials: %w", err)
		}
		return Keys{k}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	keys, err := parseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w: correct it, or remove it to have new keys made", path, err)
	}
	return keys, nil
}

// parseKeys reads the INI form of shared credentials files.
func parseKeys(text string) (Keys, error) {
	var keys Keys
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, ok = strings.CutSuffix(name, "]")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, fmt.Errorf("line %d is no profile", i+1)
			}
			keys = append(keys, Key{Name: name})
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || len(keys) == 0 {
			return nil, fmt.Errorf("line %d is neither a profile nor a setting of one", i+1)
		}
		switch last := &keys[len(keys)-1]; strings.TrimSpace(k) {
		case "aws_access_key_id":
			last.ID = strings.TrimSpace(v)
		case "aws_secret_access_key":
			last.Secret = strings.TrimSpace(v)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no profile has keys")
	}
	for _, k := range keys {
		if k.ID == "" || k.Secret == "" {
			return nil, fmt.Errorf("profile %s lacks aws_access_key_id or aws_secret_access_key", k.Name)
		}
	}
	return keys, nil
}

// newKey makes an access key: 20 characters and 40, as AWS's have.
func newKey(prefix string) Key {
	id, secret := make([]byte, 10), make([]byte, 30)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(secret)
	return Key{ID: prefix + base32.StdEncoding.EncodeToString(id), Secret: base64.StdEncoding.EncodeToString(secret)}
}
