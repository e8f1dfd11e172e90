package credentials

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func fresh() aws.Credentials {
	return aws.Credentials{AccessKeyID: "ASIANEW", SecretAccessKey: "new/secret+=", SessionToken: "tok=="}
}

const threeLines = "aws_access_key_id = ASIANEW\naws_secret_access_key = new/secret+=\naws_session_token = tok==\n"

// TestMerge: nothing changes but the three values.
func TestMerge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ profile, text, want string }{
		"empty":              {"default", "", "[default]\n" + threeLines},
		"others stay":        {"default", "# mine\n[work]\naws_access_key_id=W\n aws_secret_access_key : s ; note\n\n", "# mine\n[work]\naws_access_key_id=W\n aws_secret_access_key : s ; note\n\n\n[default]\n" + threeLines},
		"no last line end":   {"default", "[work]\na=b", "[work]\na=b\n\n[default]\n" + threeLines},
		"in place":           {"default", "[default]\n# k\nAWS_Access_Key_ID=old\nregion = eu\naws_secret_access_key = old # why\n\n[work]\nx=y\n", "[default]\n# k\nAWS_Access_Key_ID=ASIANEW\nregion = eu\naws_secret_access_key = new/secret+= # why\naws_session_token = tok==\n\n[work]\nx=y\n"},
		"Windows":            {"default", "\ufeff[default]\r\nregion=eu\r\n\r\n[b]\r\n", "\ufeff[default]\r\nregion=eu\r\naws_access_key_id = ASIANEW\r\naws_secret_access_key = new/secret+=\r\naws_session_token = tok==\r\n\r\n[b]\r\n"},
		"section alone":      {"a b", "[ a   b ]  # c", "[ a   b ]  # c\n" + threeLines},
		"twice":              {"p", "[p]\naws_access_key_id=1\n[q]\n[p]\naws_access_key_id=2\n", "[p]\naws_access_key_id=ASIANEW\n[q]\n[p]\naws_access_key_id=ASIANEW\naws_secret_access_key = new/secret+=\naws_session_token = tok==\n"},
		"a value goes on":    {"p", "[p]\naws_session_token=1\n  2\n  3\n# c\nx = y\n  z\n", "[p]\naws_session_token=tok==\n# c\nx = y\n  z\naws_access_key_id = ASIANEW\naws_secret_access_key = new/secret+=\n"},
		"of another section": {"p", "[default]\naws_access_key_id=D\n[p]\n", "[default]\naws_access_key_id=D\n[p]\n" + threeLines},
		"nested stays":       {"p", "[p]\ns3 =\n  aws_x = 1\n", "[p]\ns3 =\n  aws_x = 1\n" + threeLines},
		"the same once more": {"default", "[default]\n" + threeLines, "[default]\n" + threeLines},
	} {
		got, err := Merge("f", []byte(tc.text), tc.profile, fresh())
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n%q, want\n%q", name, err, got, tc.want)
		}
	}
	for _, profile := range []string{"", " a", "a]", "a\nb", "\x91"} {
		if got, err := Merge("f", nil, profile, fresh()); err == nil {
			t.Errorf("profile %q: %q", profile, got)
		}
	}
	if _, err := Merge("/root/.aws/credentials", []byte("<html>"), "default", fresh()); err == nil || !strings.Contains(err.Error(), "/root/.aws/credentials, line 1") {
		t.Error(err)
	}
}

// FuzzMerge: what was a shared file is one, with the profile's new key, and all
// else as it was.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("[default]\nregion=eu\n aws_access_key_id = 1\n  2\n[b]\r\nx:y # z"), "default")
	f.Add([]byte("\ufeff[p]\naws_session_token=\n\tn=1\n;\n"), "p")
	f.Fuzz(func(t *testing.T, text []byte, profile string) {
		before, err := parse("f", text)
		if err != nil {
			return
		}
		got, err := Merge("f", text, profile, fresh())
		if err != nil {
			if profile == "default" && len(text) < maxFile/2 {
				t.Fatal(err)
			}
			return
		}
		after, err := parse("f", got)
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		p := after[profile]
		if p[keyID] != "ASIANEW" || p[keySecret] != "new/secret+=" || p[keyToken] != "tok==" {
			t.Errorf("%q: %v", got, p)
		}
		want := maps.Clone(before[profile])
		if want == nil {
			want = section{}
		}
		want[keyID], want[keySecret], want[keyToken] = p[keyID], p[keySecret], p[keyToken]
		before[profile] = want
		if !maps.EqualFunc(before, after, func(a, b section) bool { return maps.Equal(a, b) }) {
			t.Errorf("%q\nbecame %q: %v, want %v", text, got, after, before)
		}
		again, err := Merge("f", got, profile, fresh())
		if err != nil || string(again) != string(got) {
			t.Errorf("%q, again %q, %v", got, again, err)
		}
		kept := strings.SplitAfter(string(got), "\n")
		for line := range strings.Lines(string(text)) {
			if l := strings.TrimSpace(line); strings.HasPrefix(l, "#") && !slices.Contains(kept, line) && strings.HasSuffix(line, "\n") {
				t.Errorf("the comment %q is lost", line)
			}
		}
	})
}
