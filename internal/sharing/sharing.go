// Package sharing puts a node's credentials where other programs of its user
// look for them: into a profile of the shared credentials file; and it tells
// them, as the stock agent does, who the node is and where that file lies.
package sharing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/credentials"
	"ssmagent/internal/fsys"
)

// maxFile is the size in bytes of the largest shared file that is taken up.
const maxFile = 1 << 20

// Shared writes credentials. The fields must not change.
type Shared struct {
	FS fsys.FS
	// File is the shared credentials file; empty: nothing is shared, and only
	// Runtime is written.
	File    string
	Profile string // empty: default
	// Force replaces a file that is none; the old one stays beside it.
	Force bool
	// Runtime is the stock agent's identity_config.json.
	Runtime      string
	InstanceID   string
	IdentityType string
	Log          *slog.Logger
}

// defaultProfile is the one that programs use without being told.
const defaultProfile = "default"

// Write shares c, which was had at retrieved from source, "SSM" or "EC2". Its files are whole
// at every moment.
func (s Shared) Write(c aws.Credentials, source string, retrieved time.Time) error {
	if s.File != "" {
		err := s.writeFile(c)
		if errors.Is(err, fsys.ErrReadOnly) { // a container's root: nothing there looks for them
			s.Log.Info("the credentials are shared with no other program (Profile.ShareCreds)", "error", err)
			s.File, err = "", nil
		}
		if err != nil {
			return fmt.Errorf("share the credentials (Profile.ShareCreds): %w", err)
		}
	}
	return s.writeRuntime(c, source, retrieved)
}

func (s Shared) profile() string {
	if s.Profile == "" {
		return defaultProfile
	}
	return s.Profile
}

func (s Shared) writeFile(c aws.Credentials) error {
	if err := fsys.MkdirAll(s.FS, filepath.Dir(s.File), 0o700); err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	info, err := s.FS.Lstat(s.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, and links are not followed; name the file itself in AWS_SHARED_CREDENTIALS_FILE, or set Profile.ShareCreds to false", s.File)
	default:
		mode = info.Mode().Perm()
	}
	old, err := fsys.ReadFile(s.FS, s.File, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	merged, err := credentials.Merge(s.File, old, s.profile(), c)
	if err != nil && s.Force {
		kept := s.File + ".unreadable"
		s.Log.Warn("the shared credentials file is replaced (Profile.ForceUpdateCreds)", "error", err, "kept", kept)
		if err := fsys.WriteFile(s.FS, kept, old, mode); err != nil {
			return fmt.Errorf("keep the file that cannot be read: %w", err)
		}
		merged, err = credentials.Merge(s.File, nil, s.profile(), c)
	}
	if err != nil {
		return fmt.Errorf("%w; mend the file, or have it replaced with Profile.ForceUpdateCreds", err)
	}
	return fsys.WriteFile(s.FS, s.File, merged, mode)
}

// runtime is identity_config.json.
type runtime struct {
	SchemaVersion                                           string
	InstanceID                                              string `json:"InstanceId"`
	IdentityType, ShareFile, ShareProfile, CredentialSource string
	CredentialsExpiresAt, CredentialsRetrievedAt            time.Time
}

func (s Shared) writeRuntime(c aws.Credentials, source string, retrieved time.Time) error {
	r := runtime{SchemaVersion: "1.1", InstanceID: s.InstanceID, IdentityType: s.IdentityType, ShareFile: s.File, ShareProfile: s.Profile,
		CredentialsExpiresAt: c.Expires.UTC(), CredentialsRetrievedAt: retrieved.UTC(), CredentialSource: source}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", s.Runtime, err)
	}
	if err := fsys.MkdirAll(s.FS, filepath.Dir(s.Runtime), 0o700); err != nil {
		return err
	}
	return fsys.WriteFile(s.FS, s.Runtime, b, 0o600)
}
