package manifest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const valid = `{"schemaVersion":"2.0","version":"1.2.0","packages":{"debian":{"_any":{"x86_64":{"file":"d.zip"}}},"_any":{"*":{"_any":{"file":"a.zip"}}}},
	"files":{"d.zip":{"checksums":{"sha256":"9f86"},"downloadLocation":"https://files.example/d.zip","size":1024},"a.zip":{}}}`

// TestVersionsAsRecorded holds the choice to the recorded table.
func TestVersionsAsRecorded(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../doc/testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Auxiliary struct {
			PackagePlatformVersion struct {
				Cases []struct {
					Keys                      []string
					PlatformVersion, Selected string
					Found                     bool
				}
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Auxiliary.PackagePlatformVersion.Cases) < 10 {
		t.Fatalf("%d cases, %v", len(v.Auxiliary.PackagePlatformVersion.Cases), err)
	}
	for _, c := range v.Auxiliary.PackagePlatformVersion.Cases {
		keys := map[string]bool{}
		for _, k := range c.Keys {
			keys[k] = true
		}
		if got, ok := pick(keys, c.PlatformVersion); got != c.Selected || ok != c.Found {
			t.Errorf("%q of %q: %q %v", c.PlatformVersion, c.Keys, got, ok)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	m, err := Decode([]byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ platform, arch, want string }{
		{"debian", "x86_64", "d.zip"}, {"debian", "arm64", "!has no file for debian 12 on arm64"}, {"ubuntu", "arm64", "a.zip"},
	} {
		name, f, err := m.Select(tc.platform, "12", tc.arch)
		if why, fails := strings.CutPrefix(tc.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%+v: %v", tc, err)
			}
		} else if err != nil || name != tc.want || name == "d.zip" && f.Size != 1024 {
			t.Errorf("%+v: %q %+v %v", tc, name, f, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"cannot be decoded":     `{"version":7}`,
		"has no version":        `{"packages":{"a":{}}}`,
		"packages of the":       `{"version":"1"}`,
		"not among its files":   strings.Replace(valid, `"file":"d.zip"`, `"file":"e.zip"`, 1),
		"a negative size":       strings.Replace(valid, "1024", "-1", 1),
		"more than 1048576":     strings.Repeat(" ", MaxSize) + valid,
		"version of the manif":  strings.Replace(valid, "1.2.0", strings.Repeat("1", 3000), 1),
		"or a NUL character":    strings.Replace(valid, "1.2.0", `1\u0000`, 1),
		"packageArn of the man": strings.Replace(valid, "{", `{"packageArn":"a\u0000",`, 1),
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// FuzzDecode: what is accepted names only files that it has, and can be sent on.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(valid), "debian", "12", "x86_64")
	f.Add([]byte(`{"version":"1","packages":{"_any":{"10.*nano":{"_any":{"file":""}}}},"files":{"":{}}}`), "windows", "10.0nano", "386")
	f.Fuzz(func(t *testing.T, b []byte, platform, version, arch string) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		if name, _, err := m.Select(platform, version, arch); err == nil {
			if _, ok := m.Files[name]; !ok {
				t.Fatalf("%q is no file", name)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) <= MaxSize {
			if _, err := Decode(again); err != nil {
				t.Fatalf("%s: %v", again, err)
			}
		}
	})
}
