package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func load(t *testing.T, text string) (Config, []Warning) {
	t.Helper()
	c, w, err := Load(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

func TestEmptyFileIsDefault(t *testing.T) {
	t.Parallel()
	c, w := load(t, "{}")
	if d := cmp.Diff(Default(), c); d != "" || len(w) != 0 {
		t.Errorf("%s\n%v", d, w)
	}
}

// templateFile is what packages install beside the configuration.
const templateFile = "../../installer/amazon-ssm-agent.json.template"

// TestTemplate loads the members of the stock template, in which some words
// are empty; nothing of it deserves a warning.
func TestTemplate(t *testing.T) {
	t.Parallel()
	f, err := os.Open(templateFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, w, err := Load(f)
	if err != nil || len(w) != 0 {
		t.Fatalf("%v, %v", err, w)
	}
	want := Default()
	want.Agent.OrchestrationRootDir = ""
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

func TestNamesIgnoreCase(t *testing.T) {
	t.Parallel()
	c, w := load(t, `{"mds":{"COMMANDWORKERSLIMIT":9},"SSMAgent":{"cabundle":"`+abs()+`"},"KMS":{"Endpoint":"x"}}`)
	if c.Mds.CommandWorkersLimit != 9 || c.SSMAgent.CABundle == "" || c.Kms.Endpoint != "x" || len(w) != 0 {
		t.Errorf("%+v, %v", c, w)
	}
}

// abs is an absolute path of this system, fit for JSON.
func abs() string {
	p, err := filepath.Abs("ca.pem")
	if err != nil {
		return "/ca.pem"
	}
	return filepath.ToSlash(p)
}

func TestOutOfRangeBecomesDefault(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		get  func(Config) any
		want any
		warn string // empty: in range
	}{
		{`{"Profile":{"KeyAutoRotateDays":365}}`, func(c Config) any { return c.Profile.KeyAutoRotateDays }, 365, ""},
		{`{"Profile":{"KeyAutoRotateDays":366}}`, func(c Config) any { return c.Profile.KeyAutoRotateDays }, 0, "between 0 and 365"},
		{`{"Profile":{"KeyAutoRotateDays":-1}}`, func(c Config) any { return c.Profile.KeyAutoRotateDays }, 0, "between"},
		{`{"Mds":{"CommandWorkersLimit":0}}`, func(c Config) any { return c.Mds.CommandWorkersLimit }, 5, "at least 1"},
		{`{"Mds":{"CommandWorkersLimit":100000}}`, func(c Config) any { return c.Mds.CommandWorkersLimit }, 100000, ""},
		{`{"Mds":{"CommandWorkerBufferLimit":-3}}`, func(c Config) any { return c.Mds.CommandWorkerBufferLimit }, 5, "at least 1"},
		{`{"Mds":{"StopTimeoutMillis":9999}}`, func(c Config) any { return c.Mds.StopTimeoutMillis }, int64(20000), "between 10000"},
		{`{"Mds":{"StopTimeoutMillis":1000000}}`, func(c Config) any { return c.Mds.StopTimeoutMillis }, int64(1000000), ""},
		{`{"Mds":{"CommandRetryLimit":101}}`, func(c Config) any { return c.Mds.CommandRetryLimit }, 15, "between 1 and 100"},
		{`{"Ssm":{"HealthFrequencyMinutes":4}}`, func(c Config) any { return c.Ssm.HealthFrequencyMinutes }, 5, "between 5 and 60"},
		{`{"Ssm":{"HealthFrequencyMinutes":61}}`, func(c Config) any { return c.Ssm.HealthFrequencyMinutes }, 5, "between"},
		{`{"Ssm":{"AssociationFrequencyMinutes":60}}`, func(c Config) any { return c.Ssm.AssociationFrequencyMinutes }, 60, ""},
		{`{"Ssm":{"AssociationFrequencyMinutes":0}}`, func(c Config) any { return c.Ssm.AssociationFrequencyMinutes }, 10, "between"},
		{`{"Ssm":{"AssociationLogsRetentionDurationHours":7}}`, func(c Config) any { return c.Ssm.AssociationLogsRetentionDurationHours }, 24, "at least 8"},
		{`{"Ssm":{"RunCommandLogsRetentionDurationHours":7}}`, func(c Config) any { return c.Ssm.RunCommandLogsRetentionDurationHours }, 336, "at least 8"},
		{`{"Ssm":{"SessionLogsRetentionDurationHours":-5}}`, func(c Config) any { return c.Ssm.SessionLogsRetentionDurationHours }, -5, ""},
		{`{"Ssm":{"SessionLogsDestination":"Disk"}}`, func(c Config) any { return c.Ssm.SessionLogsDestination }, "none", "none of"},
		{`{"Ssm":{"SessionLogsDestination":"disk"}}`, func(c Config) any { return c.Ssm.SessionLogsDestination }, "disk", ""},
		{`{"Ssm":{"PluginLocalOutputCleanup":"never"}}`, func(c Config) any { return c.Ssm.PluginLocalOutputCleanup }, "default", "none of"},
		{`{"Ssm":{"OrchestrationDirectoryCleanup":"clean-success"}}`, func(c Config) any { return c.Ssm.OrchestrationDirectoryCleanup }, "clean-success", ""},
		{`{"Mgs":{"SessionWorkersLimit":0}}`, func(c Config) any { return c.Mgs.SessionWorkersLimit }, 5, "at least 1"},
		{`{"Mgs":{"SessionWorkerBufferLimit":0}}`, func(c Config) any { return c.Mgs.SessionWorkerBufferLimit }, 1, "at least 1"},
		{`{"Mgs":{"DeniedPortForwardingRemoteIPs":["10.0.0.1"]}}`, func(c Config) any { return c.Mgs.DeniedPortForwardingRemoteIPs }, []string{"10.0.0.1"}, ""},
		{`{"Mgs":{"DeniedPortForwardingRemoteIPs":["10.0.0.0/8","fd00::1"]}}`, func(c Config) any { return c.Mgs.DeniedPortForwardingRemoteIPs }, []string{"10.0.0.0/8", "fd00::1"}, ""},
		{`{"Mgs":{"DeniedPortForwardingRemoteIPs":null}}`, func(c Config) any { return c.Mgs.DeniedPortForwardingRemoteIPs }, Default().Mgs.DeniedPortForwardingRemoteIPs, ""},
		{`{"Agent":{"SelfUpdateScheduleDay":0}}`, func(c Config) any { return c.Agent.SelfUpdateScheduleDay }, 7, "between 1 and 7"},
		{`{"Agent":{"AuditExpirationDay":31}}`, func(c Config) any { return c.Agent.AuditExpirationDay }, 7, "between 3 and 30"},
		{`{"Agent":{"LongRunningWorkerMonitorIntervalSeconds":29}}`, func(c Config) any { return c.Agent.LongRunningWorkerMonitorIntervalSeconds }, 60, "between 30 and 1800"},
		{`{"ssmagent":{"Commands":{"MaxMiB":-1}}}`, func(c Config) any { return c.SSMAgent.Commands.MaxMiB }, 0, "between"},
		{`{"ssmagent":{"Commands":{"MaxCount":7}}}`, func(c Config) any { return c.SSMAgent.Commands.MaxCount }, 7, ""},
		{`{"ssmagent":{"Guard":{"Goroutines":3}}}`, func(c Config) any { return c.SSMAgent.Guard.Goroutines }, 20_000, "between"},
		{`{"Agent":{"GoMaxProcForAgentWorker":-1}}`, func(c Config) any { return c.Agent.GoMaxProcForAgentWorker }, 0, "at least 0"},
		{`{"Identity":{"ConsumptionOrder":["EC2","ec2","OnPrem"]}}`, func(c Config) any { return c.Identity.ConsumptionOrder }, []string{"EC2", "OnPrem"}, "dropped"},
		{`{"Identity":{"ConsumptionOrder":["x"]}}`, func(c Config) any { return c.Identity.ConsumptionOrder }, []string{"OnPrem", "EC2", "CustomIdentity"}, "dropped"},
		{`{"Identity":{"ConsumptionOrder":["ECS"]}}`, func(c Config) any { return c.Identity.ConsumptionOrder }, []string{"ECS"}, ""},
		{`{"Identity":{"Ec2SystemInfoDetectionResponse":"yes"}}`, func(c Config) any { return c.Identity.Ec2SystemInfoDetectionResponse }, "", "none of"},
		{`{"Identity":{"CustomIdentities":[{"InstanceID":"mi-1","CredentialsProvider":"Mine"}]}}`,
			func(c Config) any { return c.Identity.CustomIdentities },
			[]CustomIdentity{{InstanceID: "mi-1", CredentialsProvider: "DEFAULT"}}, "DEFAULT"},
	} {
		c, w := load(t, tc.text)
		if got := tc.get(c); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.text, got, tc.want)
		}
		if tc.warn == "" && len(w) != 0 || tc.warn != "" && (len(w) != 1 || !strings.Contains(w[0].String(), tc.warn)) {
			t.Errorf("%s: warnings %v, want %q", tc.text, w, tc.warn)
		}
	}
}

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	_, w := load(t, "{\n \"Mds\": {\n  \"Sepp\": {\"a\":[1]}\n },\n \"Extra\": 1 }")
	if len(w) != 2 || w[0].Line != 3 || w[0].Field != "Mds.Sepp" || w[1].Line != 5 || w[1].Field != "Extra" {
		t.Errorf("%v", w)
	}
	for text, want := range map[string]string{
		`{"Mds":{"ComandWorkersLimit":1}}`:       "line 1: Mds.ComandWorkersLimit: unknown setting, ignored; did you mean Mds.CommandWorkersLimit?",
		`{"CommandWorkersLimit":1}`:              "did you mean Mds.CommandWorkersLimit?",
		`{"Agent":{"healthFrequencyMinutes":1}}`: "did you mean Ssm.HealthFrequencyMinutes?",
		`{"mdss":{}}`:                            "did you mean Mds?",
		`{"Profile":{"Colour":"red"}}`:           "remove it",
	} {
		if _, w := load(t, text); len(w) != 1 || !strings.HasSuffix(w[0].String(), want) && !strings.Contains(w[0].Message, want) {
			t.Errorf("%s: %v, want %q", text, w, want)
		}
	}
}

// TestAllFaultsAtOnce: each with its line, its field and what to write.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	const text = `{
 "Mds": { "CommandWorkersLimit": "many",
          "CommandRetryLimit": 1.5 },
 "Agent": [],
 "Identity": { "ConsumptionOrder": "EC2",
   "CustomIdentities": [ {"InstanceID": "a"},
      {"InstanceID": 7} ] },
 "ssmagent": { "CaBundel": "/x",
   "CABundle": "relative.pem",
   "Recordings": { "MaxMB": 1 }, "Audit": [] }
}`
	_, _, err := Load(strings.NewReader(text))
	var lines []string
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			lines = append(lines, e.Error())
		}
	}
	want := []string{
		`line 2: Mds.CommandWorkersLimit: must be a whole number, not "many"`,
		`line 3: Mds.CommandRetryLimit: must be a whole number, not 1.5`,
		`line 4: Agent: must be a JSON object, { … }`,
		`line 5: Identity.ConsumptionOrder: must be a list of strings, not "EC2"`,
		`line 7: Identity.CustomIdentities[1].InstanceID: must be a string, not 7`,
		`line 8: ssmagent.CaBundel: there is no such setting; known here: CABundle, UseFIPSEndpoint, UseDualStackEndpoint, LargePayloads, LogsEndpoint, LogLevel, Recordings, Audit, Commands, SessionUser, LoginShells, SealKey, Guard`,
		`line 9: ssmagent.CABundle: "relative.pem" must be an absolute path of a PEM file`,
	}
	want = slices.Insert(want, 6, `line 10: ssmagent.Recordings.MaxMB: there is no such setting; known here: Mode, WhenFailing, MaxAgeHours, MaxMiB, MaxCount`,
		`line 10: ssmagent.Audit: must be a JSON object, { … }`)
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("%T", err)
	}
}

func TestNoJSON(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, says string }{
		"empty":       {"", "line 1, column 1: not JSON"},
		"cut":         {"{\n\"Mds\": {", "line 2, column 8: not JSON"},
		"comment":     {"{\n\n// no\n}", "line 3, column 1: not JSON"},
		"two":         {"{}\n  {}", "line 2, column 3: not JSON"},
		"mark":        {"\xef\xbb\xbf{}", "byte-order mark"},
		"wide":        {"{\n\"Ä\": x}", "line 2, column 6: not JSON"},
		"list":        {" [] ", "one JSON object"},
		"null":        {"null", "one JSON object"},
		"deep":        {strings.Repeat(`{"Mds":`, 20000), "not JSON"},
		"large":       {strings.Repeat(" ", MaxFile+1), "larger than"},
		"null member": {`{"Mds":null,"Agent":{"Name":null}} x`, "not JSON"},
	} {
		if _, _, err := Load(strings.NewReader(tc.text)); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	c, w := load(t, `{"Mds":null,"Agent":{"Name":null},"Os":{"Lang":""}}`)
	if c.Mds != Default().Mds || c.Agent.Name != "amazon-ssm-agent" || c.Os.Lang != "" || len(w) != 0 {
		t.Errorf("null and empty: %+v %v", c, w)
	}
	if _, _, err := Load(iotest.ErrReader(errors.New("gone"))); err == nil {
		t.Error("a failing reader")
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{\n\"Ssm\":{\"Endpoint\":\"ftp://x\"}}":           `line 2: Ssm.Endpoint "ftp://x" is not a URL like https://host:port`,
		"{\n\n\"Mgs\":{\"Region\":\"a/b\"}}":               `line 3: region "a/b" is not a region's name`,
		"{\"Agent\":{\"ServiceDomain\":\"a b\"}}":          "line 1: Agent.ServiceDomain",
		"{\"ssmagent\":{\n\"LogsEndpoint\":\"https://\"}}": "line 2: ssmagent.LogsEndpoint",
	} {
		_, _, err := Load(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 && !strings.Contains(text, "Domain") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestManyFaults(t *testing.T) {
	t.Parallel()
	const n = 5000
	_, w := load(t, `{`+strings.Repeat("\"x\":0,\n", n)+`"y":0}`)
	if len(w) != n+1 || w[n].Line != n+1 {
		t.Errorf("%d warnings, the last %v", len(w), w[len(w)-1])
	}
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if c, w, err := LoadFile(filepath.Join(dir, "none.json")); err != nil || len(w) != 0 || !reflect.DeepEqual(c, Default()) {
		t.Errorf("missing file: %v %v", w, err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadFile(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("%v", err)
	}
	if _, _, err := LoadFile(dir); err == nil {
		t.Error("a directory was read")
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	c := Default().Complete("linux", "3.3.9000.0")
	if c.Os.Name != "linux" || c.Agent.Version != "3.3.9000.0" {
		t.Errorf("%+v %+v", c.Os, c.Agent)
	}
	c.Os.Name, c.Agent.Version = "other", "1.2.3.4"
	if again := c.Complete("linux", "3.3.9000.0"); again.Os.Name != "other" || again.Agent.Version != "1.2.3.4" {
		t.Error("what the file says was overwritten")
	}
}

func FuzzLoad(f *testing.F) {
	template, err := os.ReadFile(templateFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(template)
	f.Add([]byte(`{"Identity":{"CustomIdentities":[{"a":1},{}]},"ssmagent":{"x":[{}]},"mds":{"CommandRetryLimit":1e9}}`))
	f.Add([]byte("{\"\xff\":1,\"MDS\":{},\"MDS\":{}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, warnings, err := Load(strings.NewReader(string(b)))
		for _, w := range warnings {
			if w.Line < 1 || w.Field == "" {
				t.Errorf("warning without a place: %+v", w)
			}
		}
		if err != nil {
			return
		}
		if c.Mds.CommandWorkersLimit < 1 || c.Ssm.HealthFrequencyMinutes < 5 || len(c.Identity.ConsumptionOrder) == 0 {
			t.Errorf("out of range: %+v", c)
		}
	})
}

// TestRecordSettings: what is no setting counts as the default, with a warning.
func TestRecordSettings(t *testing.T) {
	t.Parallel()
	c, w := load(t, `{"ssmagent":{"Recordings":{"Mode":"always","WhenFailing":"end","MaxAgeHours":1,"MaxMiB":2,"MaxCount":0},"Audit":{"MaxMiB":16}}}`)
	if want := (Recordings{Mode: RecordAlways, WhenFailing: FailEnd, MaxAgeHours: 1, MaxMiB: 2}); c.SSMAgent.Recordings != want || c.SSMAgent.Audit.MaxMiB != 16 || len(w) > 0 {
		t.Errorf("%+v %v", c.SSMAgent, w)
	}
	c, w = load(t, `{"ssmagent":{"Recordings":{"Mode":"sometimes","WhenFailing":"panic","MaxAgeHours":-1,"MaxMiB":9999999999,"MaxCount":-1},"Audit":{"MaxMiB":0}}}`)
	if !cmp.Equal(c.SSMAgent, Default().SSMAgent) || len(w) != 6 {
		t.Errorf("%+v %v", c.SSMAgent, w)
	}
}

// TestSessionUser: what the tools that make accounts would misread is refused.
func TestSessionUser(t *testing.T) {
	t.Parallel()
	c, w := load(t, `{"ssmagent":{"LoginShells":true,"SessionUser":{"UID":900,"GID":901,"System":true,"Home":"/srv/ssm","Shell":"/bin/zsh","Groups":["wheel","dialout","Remote Desktop Users"],"Sudo":false}}}`)
	want := SessionUser{UID: 900, GID: 901, System: true, Home: "/srv/ssm", Shell: "/bin/zsh", Groups: []string{"wheel", "dialout", "Remote Desktop Users"}}
	if d := cmp.Diff(want, c.SSMAgent.SessionUser); d != "" || !c.SSMAgent.LoginShells || len(w) > 0 {
		t.Error(d, w)
	}
	if c, w = load(t, `{"ssmagent":{"SessionUser":{"UID":-1,"GID":4294967295}}}`); !cmp.Equal(c.SSMAgent.SessionUser, SessionUser{Sudo: true}) || len(w) != 2 {
		t.Errorf("%+v %v", c.SSMAgent.SessionUser, w)
	}
	for field, value := range map[string]string{"Home": `"home"`, "Shell": `"/bin/a:b"`, "Groups": `["wheel","-r"]`, "Sudo": `"yes"`} {
		_, _, err := Load(strings.NewReader(`{"ssmagent":{"SessionUser":{"` + field + `":` + value + `}}}`))
		if err == nil || !strings.Contains(err.Error(), "ssmagent.SessionUser."+field) {
			t.Errorf("%s %s: %v", field, value, err)
		}
	}
}
