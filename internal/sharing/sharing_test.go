package sharing

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/platform/secfile"
)

const file, state = "/root/.aws/credentials", "/data/runtimeconfig/identity_config.json"

func shared(disk fsys.FS) Shared {
	return Shared{FS: disk, File: file, Runtime: state, InstanceID: "mi-0123456789abcdef0", IdentityType: "OnPrem", Log: slog.New(slog.DiscardHandler)}
}

func token() (aws.Credentials, time.Time) {
	at := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	return aws.Credentials{AccessKeyID: "ASIA", SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: at.Add(time.Hour)}, at
}

func write(t *testing.T, s Shared) error {
	t.Helper()
	c, at := token()
	return s.Write(c, "SSM", at)
}

func read(t *testing.T, disk fsys.FS, name string) string {
	t.Helper()
	b, err := fsys.ReadFile(disk, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newDisk(t *testing.T) *fsystest.Disk {
	t.Helper()
	disk := fsystest.NewDisk()
	for _, dir := range []string{"/data", "/root"} {
		if err := fsys.MkdirAll(disk, dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// TestReadOnlyHome: where the file cannot be, nobody is told that it were there.
func TestReadOnlyHome(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	disk.Fail(func(o fsystest.Op) error {
		if strings.HasPrefix(o.Name, "/root") {
			return fsys.ErrReadOnly
		}
		return nil
	})
	if err := write(t, shared(disk)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, disk, state); !strings.Contains(got, `"ShareFile":""`) {
		t.Errorf("other programs are told %s", got)
	}
}

// TestWrite: a new file, private, and what the stock agent tells its workers.
func TestWrite(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	if err := write(t, shared(disk)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("[default]\naws_access_key_id = ASIA\naws_secret_access_key = s\naws_session_token = t\n", read(t, disk, file)); d != "" {
		t.Error(d)
	}
	want := `{"SchemaVersion":"1.1","InstanceId":"mi-0123456789abcdef0","IdentityType":"OnPrem","ShareFile":"/root/.aws/credentials","ShareProfile":"",` +
		`"CredentialSource":"SSM","CredentialsExpiresAt":"2025-01-02T04:04:05Z","CredentialsRetrievedAt":"2025-01-02T03:04:05Z"}`
	if d := cmp.Diff(want, read(t, disk, state)); d != "" {
		t.Error(d)
	}
	for _, name := range []string{file, state} {
		if info, err := disk.Lstat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	alone := shared(disk)
	alone.File = ""
	if err := write(t, alone); err != nil || !strings.Contains(read(t, disk, state), `"ShareFile":""`) {
		t.Errorf("not shared: %v", err)
	}
}

// TestWriteKeeps: what is there stays, and so does the file's mode.
func TestWriteKeeps(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	const mine = "; mine\n[work]\naws_access_key_id = W\n"
	if err := fsys.MkdirAll(disk, filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsys.WriteFile(disk, file, []byte(mine), 0o640); err != nil {
		t.Fatal(err)
	}
	s := shared(disk)
	s.Profile = "node"
	if err := write(t, s); err != nil {
		t.Fatal(err)
	}
	info, err := disk.Lstat(file)
	if got := read(t, disk, file); !strings.HasPrefix(got, mine+"\n[node]\naws_access_key_id = ASIA\n") || err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, %v, %v", got, info, err)
	}
}

// TestWriteUnreadable: a file that is none stays, unless it is to be replaced.
func TestWriteUnreadable(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	if err := fsys.MkdirAll(disk, filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	const broken = "<html>\n"
	if err := fsys.WriteFile(disk, file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	s := shared(disk)
	err := write(t, s)
	if err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "Profile.ForceUpdateCreds") || read(t, disk, file) != broken {
		t.Errorf("%v", err)
	}
	s.Force = true
	if err := write(t, s); err != nil || !strings.HasPrefix(read(t, disk, file), "[default]\n") || read(t, disk, file+".unreadable") != broken {
		t.Errorf("forced: %v", err)
	}
}

// TestWriteCrash: stopped at every operation, the file is the old one or the
// new one.
func TestWriteCrash(t *testing.T) {
	t.Parallel()
	const old = "[work]\na = b\n"
	for n := 1; ; n++ {
		disk := newDisk(t)
		if err := fsys.MkdirAll(disk, filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteFile(disk, file, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		disk.StopAt(disk.Ops() + n)
		err := write(t, shared(disk))
		disk.Crash(fsystest.Nothing())
		got := read(t, disk, file)
		if got != old && got != old+"\n[default]\naws_access_key_id = ASIA\naws_secret_access_key = s\naws_session_token = t\n" {
			t.Errorf("stopped at operation %d: %q", n, got)
		}
		if err == nil {
			if n < 5 || got == old {
				t.Errorf("done after %d operations: %q", n, got)
			}
			return
		}
	}
}

// TestWriteLink: on the real file system, a link is not followed.
func TestWriteLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := shared(secfile.ForUser())
	s.File, s.Runtime = filepath.Join(dir, "credentials"), filepath.Join(dir, "r", "identity_config.json")
	target := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, s.File); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		t.Skip("this system makes no links for this user")
	} else if err != nil {
		t.Fatal(err)
	}
	err := write(t, s)
	if b, rerr := os.ReadFile(target); err == nil || !strings.Contains(err.Error(), "links are not followed") || rerr != nil || len(b) > 0 {
		t.Errorf("%v, %q, %v", err, b, rerr)
	}
}
