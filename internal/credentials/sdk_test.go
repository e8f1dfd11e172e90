package credentials

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
)

// TestAsTheSDK reads files that people have as the SDK reads them. On purpose
// we differ where it signs one file's key with the other file's token.
func TestAsTheSDK(t *testing.T) {
	t.Parallel()
	const k = "aws_access_key_id = A\naws_secret_access_key = s\n"
	for name, tc := range map[string]struct{ config, credentials, profile string }{
		"plain":              {"", "[default]\n" + k, "default"},
		"config":             {"[profile p]\n" + k, "", "p"},
		"both":               {"[profile p]\n" + k, "[p]\naws_access_key_id = B\naws_secret_access_key = r\n", "p"},
		"token in the other": {"[profile p]\naws_session_token = t\n", "[p]\n" + k, "p"},
		"profile default":    {"[profile default]\n" + k + "[default]\naws_access_key_id = B\naws_secret_access_key = r\n", "", "default"},
		"comments":           {"", "# a\n[p] ; b\naws_access_key_id = A # c\naws_secret_access_key = s#c;d ;e\n", "p"},
		"capitals":           {"", "[p]\nAWS_ACCESS_KEY_ID=A\nAws_Secret_Access_Key=s\n", "p"},
		"colons":             {"", "[p]\naws_access_key_id: A\naws_secret_access_key: s=t\n", "p"},
		"quotes":             {"", "[p]\naws_access_key_id='A'\naws_secret_access_key=\"s\"\n", "p"},
		"line ends":          {"", "[p]\r\naws_access_key_id = A\r\naws_secret_access_key = s\r\n", "p"},
		"nested":             {"[profile p]\ns3 =\n  aws_access_key_id = no\n" + k, "", "p"},
		"twice":              {"", "[p]\n" + k + "[q]\nregion = x\n[p]\naws_access_key_id = B\n", "p"},
		"blanks in name":     {"[ profile  p ]\n" + k, "", "p"},
		"indented":           {"", "[p]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n", "p"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			paths := [2]string{filepath.Join(dir, "config"), filepath.Join(dir, "credentials")}
			for i, text := range []string{tc.config, tc.credentials} {
				if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			theirs, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("r"), config.WithSharedConfigProfile(tc.profile),
				config.WithSharedConfigFiles(paths[:1]), config.WithSharedCredentialsFiles(paths[1:]))
			if err != nil {
				t.Fatal(err)
			}
			want, err := theirs.Credentials.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			f := &fake{env: map[string]string{"AWS_CONFIG_FILE": "/config", "AWS_SHARED_CREDENTIALS_FILE": "/credentials"},
				files: map[string]string{"/config": tc.config, "/credentials": tc.credentials}}
			got, err := f.chain(t, Options{Profile: tc.profile}).Find(t.Context())
			c := got.Credentials
			if err != nil || c.AccessKeyID != want.AccessKeyID || c.SecretAccessKey != want.SecretAccessKey || c.SessionToken != want.SessionToken {
				t.Errorf("%q %q %q, %v; the SDK: %q %q %q", c.AccessKeyID, c.SecretAccessKey, c.SessionToken, err, want.AccessKeyID, want.SecretAccessKey, want.SessionToken)
			}
		})
	}
}
