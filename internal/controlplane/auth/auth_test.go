package auth

import (
	"encoding/base64"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/store"
)

func TestParseKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Keys
	}{
		{"[default]\naws_access_key_id=A\naws_secret_access_key = S/+=\n", Keys{{"default", "A", "S/+="}}},
		{"# c\n; c\r\n[a]\r\naws_access_key_id = A\r\naws_secret_access_key = S\r\nregion = x\r\n\n[ b ]\naws_access_key_id=B\naws_secret_access_key=T", Keys{{"a", "A", "S"}, {"b", "B", "T"}}},
		{"", nil},
		{"[default]\n", nil},
		{"[default]\naws_access_key_id = A\n", nil},
		{"aws_access_key_id = A\n", nil},
		{"[default\n", nil},
		{"[]\n", nil},
		{"[default]\nwhat\n", nil},
	} {
		keys, err := parseKeys(tc.text)
		if !slices.Equal(keys, tc.want) || (err == nil) != (tc.want != nil) {
			t.Errorf("%q: %v %v, want %v", tc.text, keys, err, tc.want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("[default]\naws_access_key_id=A\naws_secret_access_key=S\n")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := parseKeys(s)
		for _, k := range keys {
			if err == nil && (k.ID == "" || k.Secret == "" || k.Name == "") {
				t.Fatalf("%+v", k)
			}
		}
	})
}

func TestLoadKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "credentials")
	write := func(p string, b []byte) error { return os.WriteFile(p, b, 0o600) }
	first, err := LoadKeys(path, write)
	if err != nil || len(first) != 1 || len(first[0].ID) != 20 || len(first[0].Secret) != 40 || first[0].Name != "default" {
		t.Fatalf("%v %v", first, err)
	}
	again, err := LoadKeys(path, func(string, []byte) error { t.Error("written again"); return nil })
	if err != nil || !slices.Equal(first, again) {
		t.Errorf("%v %v", again, err)
	}
}

func issuer(t testing.TB, path string) (*Issuer, *clock.Fake, *store.DB) {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c := clock.NewFake(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	i, err := NewIssuer(db, c)
	if err != nil {
		t.Fatal(err)
	}
	return i, c, db
}

func TestTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	i, c, db := issuer(t, path)
	out, err := i.IssueToken("mi-0a1b2c3d4e5f60718", time.Hour)
	if err != nil || !out.TokenExpirationDate.Equal(c.Now().Add(time.Hour)) || out.AccessKeyId[:4] != "ASIA" {
		t.Fatalf("%+v %v", out, err)
	}
	other, err := i.IssueToken("mi-0a1b2c3d4e5f60718", time.Hour)
	if err != nil || other.SecretAccessKey == out.SecretAccessKey || other.AccessKeyId == out.AccessKeyId {
		t.Error("two tokens share a key")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again, _, _ := issuer(t, path)
	tok, err := again.open(string(out.SessionToken))
	if err != nil || tok.InstanceID != "mi-0a1b2c3d4e5f60718" || tok.Secret != string(out.SecretAccessKey) || tok.AccessKeyID != out.AccessKeyId {
		t.Errorf("after a restart: %+v %v", tok, err)
	}
	stranger, _, _ := issuer(t, filepath.Join(t.TempDir(), "s.db"))
	if _, err := stranger.open(string(out.SessionToken)); err == nil {
		t.Error("another control plane takes the token")
	}
	raw, _ := base64.StdEncoding.DecodeString(string(out.SessionToken))
	for n := range raw {
		bad := slices.Clone(raw)
		bad[n] ^= 1
		if _, err := again.open(base64.StdEncoding.EncodeToString(bad)); err == nil {
			t.Fatalf("a token with bit 0 of byte %d changed is taken", n)
		}
	}
}

func FuzzToken(f *testing.F) {
	i, _, _ := issuer(f, filepath.Join(f.TempDir(), "s.db"))
	out, err := i.IssueToken("mi-0a1b2c3d4e5f60718", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add(string(out.SessionToken[:20]))
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := i.open(s); err == nil {
			t.Fatalf("%q is taken", s)
		}
	})
}

func TestServiceOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ target, path, want string }{
		{"AmazonSSM.SendCommand", "/", "ssm"},
		{"EC2WindowsMessageDeliveryService.GetMessages", "/", "ec2messages"},
		{"", "/v1/control-channel/mi-0a1b2c3d4e5f60718", "ssmmessages"},
		{"", "/", "sts"},
	} {
		r := httptest.NewRequest("POST", tc.path, nil)
		r.Header.Set("X-Amz-Target", tc.target)
		if got := ServiceOf(r); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}
