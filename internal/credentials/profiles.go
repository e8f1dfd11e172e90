package credentials

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

const (
	defaultProfile = "default"
	keyID          = "aws_access_key_id"
	keySecret      = "aws_secret_access_key"
	keyToken       = "aws_session_token"
)

// profile is what both files say under one name.
type profile struct {
	name   string
	values section
	from   string // the file with the access key
	half   string // says which half of a key is missing; empty: none
}

// value is nil-safe.
func (p *profile) value(key string) string {
	if p == nil {
		return ""
	}
	return p.values[key]
}

// profiles are the shared files.
type profiles struct {
	config, credentials         string // paths; empty: not read
	inConfig, inCredentials     map[string]section
	noteConfig, noteCredentials string // why a file was not read
}

// readProfiles reads the shared files, or only the file only.
func readProfiles(m Machine, only string) (*profiles, error) {
	p := &profiles{credentials: only}
	if only == "" {
		p.config = sharedPath(m, "AWS_CONFIG_FILE", "config")
		p.credentials = sharedPath(m, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
	}
	var err error
	if p.inConfig, p.noteConfig, err = readINI(m, p.config); err != nil {
		return nil, fmt.Errorf("shared configuration file: %w", err)
	}
	if p.inCredentials, p.noteCredentials, err = readINI(m, p.credentials); err != nil {
		return nil, fmt.Errorf("shared credentials file: %w", err)
	}
	return p, nil
}

func sharedPath(m Machine, variable, name string) string {
	if v := m.Getenv(variable); v != "" {
		return v
	}
	if m.Home == "" {
		return ""
	}
	return filepath.Join(m.Home, ".aws", name)
}

// readINI takes a file that cannot be opened as one that is not there, and
// says so in note: another user's files are no reason to fail.
func readINI(m Machine, name string) (sections map[string]section, note string, err error) {
	if name == "" {
		return nil, "", nil
	}
	b, err := m.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, name + " is not there", nil
	case err != nil:
		return nil, fmt.Sprintf("%s cannot be read (%v)", name, err), nil
	}
	sections, err = parse(name, b)
	return sections, "", err
}

// get is the profile called name, nil when no file has it. What the
// credentials file says counts more. Both halves of an access key are of one
// file, and a token is never taken to the key of the other file.
func (f *profiles) get(name string) *profile {
	inConfig, ok := f.inConfig["profile "+name]
	if !ok {
		inConfig, ok = f.inConfig[`profile "`+name+`"`]
	}
	if !ok && name == defaultProfile {
		inConfig = f.inConfig[defaultProfile]
	}
	inCredentials := f.inCredentials[name]
	if inConfig == nil && inCredentials == nil {
		return nil
	}
	p := &profile{name: name, values: section{}, from: f.config, half: first(half(inCredentials, f.credentials), half(inConfig, f.config))}
	for k, v := range inConfig {
		p.values[k] = v
	}
	if inCredentials[keyID] != "" {
		p.from = f.credentials
		if inConfig[keyID] != "" {
			delete(p.values, keyToken)
		}
	}
	for k, v := range inCredentials {
		p.values[k] = v
	}
	return p
}

// half says which half of an access key s lacks.
func half(s section, file string) string {
	switch id, secret := s[keyID], s[keySecret]; {
	case id != "" && secret == "":
		return keyID + " without " + keySecret + " in " + file
	case id == "" && secret != "":
		return keySecret + " without " + keyID + " in " + file
	}
	return ""
}

// where says which files were looked into.
func (f *profiles) where() string {
	var out []string
	for _, w := range [][2]string{{f.credentials, f.noteCredentials}, {f.config, f.noteConfig}} {
		switch path, note := w[0], w[1]; {
		case note != "":
			out = append(out, note)
		case path != "":
			out = append(out, path)
		}
	}
	if len(out) == 0 {
		return "no home directory is known"
	}
	return strings.Join(out, ", ")
}

func (f *profiles) unknown(name string) error {
	if _, ok := f.inConfig[name]; ok {
		return fmt.Errorf("profile %q: its section in %s must be called [profile %s]", name, f.config, name)
	}
	return fmt.Errorf("profile %q is in none of the shared files (%s); name another with -profile or AWS_PROFILE", name, f.where())
}
