package program

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/config"
	"ssmagent/platform"
)

// TestCheckConfig: 0 for a file that says what it seems to say, else 1, with
// the file, the place and what to do.
func TestCheckConfig(t *testing.T) {
	t.Parallel()
	missing := filepath.ToSlash(filepath.Join(t.TempDir(), "ca.pem"))
	for text, want := range map[string]struct {
		code int
		says string
	}{
		"":                                            {exitOK, "is not there: the defaults hold"},
		`{"Mds":{"CommandWorkersLimit":7}}`:           {exitOK, "is fine"},
		"{\n  \"Mds\": {,}}":                          {exitFailed, "line 2, column 11: not JSON"},
		`{"Mds":{"CommandWorkersLimit":"x"}}`:         {exitFailed, "line 1: Mds.CommandWorkersLimit: must be a whole number"},
		`{"Mds":{"CommandRetryLimit":0}}`:             {exitFailed, "warning: line 1: Mds.CommandRetryLimit: 0 is not between 1 and 100; using 15"},
		`{"Mds":{"CommandRetries":1}}`:                {exitFailed, "warning: line 1: Mds.CommandRetries: unknown setting, ignored"},
		`{"Ssm":{"Endpoint":"ftp://x"}}`:              {exitFailed, "is not a URL like https://host:port"},
		`{"ssmagent":{"CABundle":"` + missing + `"}}`: {exitFailed, "ssmagent.CABundle"},
	} {
		root := t.TempDir()
		file := platform.PathsBelow(root).ConfigFile
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out, errs bytes.Buffer
		code := agentMain(t.Context(), streams{nil, &out, &errs}, []string{"-root", root, "-check-config"})
		if code != want.code || !strings.Contains(out.String(), want.says) || !strings.HasPrefix(out.String(), file) || errs.Len() > 0 {
			t.Errorf("%s: %d, %q %q, want %d, %q", text, code, &out, &errs, want.code, want.says)
		}
	}
}

func TestSwitched(t *testing.T) {
	t.Parallel()
	env := map[string]string{"AWS_USE_FIPS_ENDPOINT": "True", "AWS_USE_DUALSTACK_ENDPOINT": "false"}
	c := switched(config.Default(), func(name string) string { return env[name] })
	if !c.SSMAgent.UseFIPSEndpoint || c.SSMAgent.UseDualStackEndpoint {
		t.Errorf("%+v", c.SSMAgent)
	}
}
