package doc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"11111111-2222-3333-4444-555555555555": true, "mi-0123456789abcdef0": true, "a": true, "a.b_c:d-E": true,
		"": false, ".": false, "..": false, "a..b": false, ".:.": false, ":.:.:": false, ":": false, "a/b": false, `a\b`: false,
		"a\x00b": false, "a b": false, "é": false, "a.": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		if ValidID(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	for name, want := range map[string]string{
		"aws:runShellScript": "awsrunShellScript", "my step": "my step", "größe": "größe", "a.b": "a.b",
		"": "", ".": "", "..": "", ".:.": "", "a/../b": "", `a\b`: "", "a\x00": "", "a\nb": "", " a": "", "a ": "", "a.": "", ":": "", "\xff": "",
		"a*": "", "nul|": "", strings.Repeat("a", 129): "",
	} {
		got, err := Dir(name)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: %q %v", name, got, err)
		}
	}
	for id, want := range map[string]string{
		"aws.ssm.c-1.mi-1": "c-1", "aws.ssm.x.y.i-1": "y",
		"": "", "aws.ssm": "", "aws.ssm.": "", "aws.ssm.a": "", "aws.ssm...x": "", "aws.ssm.a/b.i": "", "aws.ssm.a b.i-1": "",
	} {
		if got, err := CommandID(id); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", id, got, err)
		}
	}
}

func TestParseSendCommand(t *testing.T) {
	t.Parallel()
	c, err := ParseSendCommand([]byte(`{"CommandId":"c-1","DocumentName":"d","documentcontent":{"a":1},"Parameters":{"p":["x"]},"CloudWatchOutputEnabled":"true","New":1}`))
	if err != nil || c.CommandId != "c-1" || string(c.DocumentContent) != `{"a":1}` || string(c.Parameters["p"]) != `["x"]` {
		t.Errorf("%+v %v", c, err)
	}
	for _, tc := range []struct {
		payload string
		is      error
		says    string
	}{
		{``, ErrDecode, ""}, {`{`, ErrDecode, ""}, {`[]`, ErrDecode, "object"}, {`{} x`, ErrDecode, ""},
		{`{"CommandId":"c","DocumentContent":{},"CloudWatchOutputEnabled":true}`, ErrDecode, "CloudWatchOutputEnabled is a JSON bool"},
		{`{"CommandId":"../c","DocumentContent":{}}`, ErrName, "CommandId"}, {`{"DocumentContent":{}}`, ErrName, "CommandId"},
		{`{"CommandId":"c"}`, ErrDecode, "DocumentContent is missing"}, {`{"CommandId":"c","DocumentContent":null}`, ErrDecode, "DocumentContent"},
		{`{"CommandId":"` + strings.Repeat("x", 10<<20) + `"}`, ErrTooLarge, "at most 1048576"},
	} {
		if _, err := ParseSendCommand([]byte(tc.payload)); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) || len(err.Error()) > 400 {
			t.Errorf("%.60s: %v", tc.payload, err)
		}
	}
	if c, err := ParseCancelCommand([]byte(`{"CancelMessageId":"aws.ssm.c-1.mi-1"}`)); err != nil || c.CancelMessageId != "aws.ssm.c-1.mi-1" {
		t.Errorf("%+v %v", c, err)
	}
	for _, p := range []string{`{}`, `{"CancelMessageId":5}`, `{"CancelMessageId":"x"}`} {
		if _, err := ParseCancelCommand([]byte(p)); err == nil {
			t.Errorf("%s: accepted", p)
		}
	}
}

func mustDecode(t testing.TB, s string) Document {
	t.Helper()
	d, err := Decode([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHugeDocumentIsOneSentence(t *testing.T) {
	t.Parallel()
	for _, decode := range []func([]byte) (Document, error){Decode, DecodeYAML} {
		if _, err := decode(make([]byte, 10<<20)); !errors.Is(err, ErrTooLarge) || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
	}
}

func TestValuesMayNotBlowADocumentUp(t *testing.T) {
	t.Parallel()
	d := mustDecode(t, `{"schemaVersion":"2.2","parameters":{"a":{"type":"String"},"x_y":{"type":"String","default":"d"}},"mainSteps":[{"action":"aws:runShellScript","name":"s","inputs":{"runCommand":[`+
		strings.Repeat(`"{{a}}",`, 50000)+`"x{{a}}"]}}]}`)
	big, _ := json.Marshal(strings.Repeat("x", 100000))
	if _, err := d.Resolve(t.Context(), map[string]json.RawMessage{"a": big}, Options{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	var names []string
	for i := range maxOddNames + 1 {
		names = append(names, fmt.Sprintf(`"n.%d":{"default":1}`, i))
	}
	d = mustDecode(t, `{"schemaVersion":"2.2","parameters":{`+strings.Join(names, ",")+`},"mainSteps":[{"name":"s"}]}`)
	if _, err := d.Resolve(t.Context(), nil, Options{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestEnvVar(t *testing.T) {
	t.Parallel()
	d := mustDecode(t, `{"schemaVersion":"2.2","parameters":{
		"m":{"type":"String","interpolationType":"ENV_VAR","default":"{{ssm:p}}"},
		"l":{"type":"StringList","interpolationType":"ENV_VAR","default":["x"]}},
		"mainSteps":[
		{"action":"aws:runShellScript","name":"a","inputs":{"runCommand":["{{ m }} {{ l }}"],"workingDirectory":"/{{ m }}"}},
		{"action":"aws:runPowerShellScript","name":"b","inputs":[{"runCommand":["{{ m }}"]}]},
		{"action":"aws:downloadContent","name":"c","inputs":{"runCommand":"{{ m }}"}}]}`)
	s := fakeStore{"p": {Type: "String", Value: "stored"}}
	steps, err := d.Resolve(t.Context(), nil, Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	a := steps[0].Inputs.(map[string]any)
	if a["runCommand"].([]any)[0] != `{{ m }} ["x"]` || a["workingDirectory"] != "/stored" || steps[0].Env["SSM_m"] != "stored" || len(steps[0].Env) != 1 {
		t.Errorf("%+v", steps[0])
	}
	if b := steps[1].Inputs.([]any)[0].(map[string]any); b["runCommand"].([]any)[0] != "{{ m }}" || steps[1].Env["SSM_m"] != "stored" {
		t.Errorf("%+v", steps[1])
	}
	if steps[2].Inputs.(map[string]any)["runCommand"] != "stored" || steps[2].Env != nil {
		t.Errorf("%+v", steps[2])
	}
	old := d
	old.SchemaVersion = "2.0"
	steps, err = old.Resolve(t.Context(), nil, Options{Store: s})
	if err != nil || steps[0].Env != nil || steps[0].Inputs.(map[string]any)["runCommand"].([]any)[0] != `stored ["x"]` {
		t.Errorf("2.0: %+v %v", steps, err)
	}
}

func TestStepNamesAreCheckedBeforeTheyArePaths(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"../../etc"}]}`,
		`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript"}]}`,
		`{"schemaVersion":"1.2","runtimeConfig":{"aws:run/../x":{}}}`,
	} {
		if _, err := mustDecode(t, s).Resolve(t.Context(), nil, Options{}); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// counting counts the calls of a store.
type counting struct {
	fakeStore
	calls int
}

func (c *counting) GetParameters(ctx context.Context, names []string) ([]StoreParameter, error) {
	c.calls++
	return c.fakeStore.GetParameters(ctx, names)
}

func TestStoreIsAskedInBatchesOfTenAndOnce(t *testing.T) {
	t.Parallel()
	s, lines := &counting{fakeStore: fakeStore{}}, []string{}
	for i := range 25 {
		s.fakeStore[fmt.Sprintf("p%d", i)] = struct {
			Type, Value string
			Version     int
		}{"String", "v", 1}
		lines = append(lines, fmt.Sprintf(`"{{ssm:p%d}} {{ssm:p%d}}"`, i, i))
	}
	d := mustDecode(t, `{"schemaVersion":"2.2","parameters":{"a":{"type":"StringList","default":[`+strings.Join(lines, ",")+`]}},
		"mainSteps":[{"action":"aws:runShellScript","name":"s","inputs":{"runCommand":"{{ a }}"}}]}`)
	steps, err := d.Resolve(t.Context(), nil, Options{Store: s})
	if err != nil || s.calls != 3 || steps[0].Inputs.(map[string]any)["runCommand"].([]any)[24] != "v v" {
		t.Errorf("%d calls, %v", s.calls, err)
	}
	if _, err := d.Resolve(t.Context(), nil, Options{}); !errors.Is(err, ErrStoreName) {
		t.Errorf("without a store: %v", err)
	}
}

func TestCutLeavesNoHalfCharacter(t *testing.T) {
	t.Parallel()
	s := TruncateStream("x" + strings.Repeat("ü", 20000))
	if len(s) != 23999 || !strings.HasSuffix(s, "ü--output truncated--") {
		t.Errorf("%d %q", len(s), s[len(s)-30:])
	}
	if s := TruncateStream("x" + strings.Repeat("\xbc", 30000)); len(s) != 24000 {
		t.Errorf("no UTF-8: %d", len(s))
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	info := AgentInfo{Lang: "en-US", Name: "amazon-ssm-agent", OS: "linux", OSVer: "1", Version: "3.3.9000.0"}
	one := Result{ID: "a:b", Action: "aws:x", Status: Failed, Output: "o", Start: now, End: now}
	two := Result{ID: "b", Action: "aws:x", Status: Skipped, Error: strings.Repeat("e", 3000), S3Bucket: "B", S3KeyPrefix: "P"}

	step := NewStepReply(info, now, []Result{one, two}, two)
	got := step.RuntimeStatus["b"]
	if step.DocumentStatus != InProgress || len(step.RuntimeStatus) != 1 || step.AdditionalInfo.RuntimeStatusCounts[Failed] != 1 || step.AdditionalInfo.RuntimeStatusCounts[Skipped] != 1 ||
		len(got.Output) != MaxOutput || got.StartDateTime != "0001-01-01T00:00:00.000Z" || got.StepName != "b" {
		t.Errorf("%+v", step)
	}
	if s := one.StepStatus(); s.Code != 1 || s.StepName != "" || s.StartDateTime != "2024-05-06T07:08:09.123Z" {
		t.Errorf("%+v", s)
	}
	last := NewReply(info, now, []Result{one, two}, Failed)
	text, err := last.Encode(MaxReply)
	want := `{"additionalInfo":{"agent":{"lang":"en-US","name":"amazon-ssm-agent","os":"linux","osver":"1","ver":"3.3.9000.0"},"dateTime":"2024-05-06T07:08:09.123Z","runId":"","runtimeStatusCounts":{"Failed":1,"Skipped":1}},"documentStatus":"Failed","documentTraceOutput":"","runtimeStatus":{}}`
	if err != nil || text != want {
		t.Errorf("%s\n%s %v", text, want, err)
	}
	if r := NewReply(info, now, []Result{one}, Failed); len(r.RuntimeStatus) != 1 {
		t.Errorf("%+v", r)
	}
	if r := NewDocumentReply(info, now, Failed, "why"); r.DocumentTraceOutput != "why" || r.RuntimeStatus != nil {
		t.Errorf("%+v", r)
	}
}

func TestReplyFits(t *testing.T) {
	t.Parallel()
	r := Result{ID: "a", Status: Success, StandardOutput: strings.Repeat("\x01", MaxStream), StandardError: strings.Repeat("\x02", MaxStream), Output: strings.Repeat("\x01", MaxOutput)}
	reply := NewReply(AgentInfo{}, time.Time{}, []Result{r}, Success)
	text, err := reply.Encode(MaxReply)
	inString, _ := json.Marshal(text)
	var back Reply
	if err != nil || len(inString) > MaxReply || json.Unmarshal([]byte(text), &back) != nil {
		t.Fatalf("%d bytes, %v", len(inString), err)
	}
	if s := back.RuntimeStatus["a"]; s.Status != Success || !strings.HasSuffix(s.StandardOutput, streamMarker) || len(s.StandardOutput) < 2000 {
		t.Errorf("%d", len(s.StandardOutput))
	}
	if text, _ := reply.Encode(0); len(text) < 200000 {
		t.Errorf("no limit: %d", len(text))
	}
	if reply.RuntimeStatus["a"].StandardOutput != r.StandardOutput {
		t.Error("the reply itself was changed")
	}
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ document, want string }{
		{`{"schemaVersion":"1.2","runtimeConfig":{"aws:runShellScript":{}}}`, "Linux,MacOS"},
		{`{"schemaVersion":"1.2","runtimeConfig":{"aws:runPowerShellScript":{}}}`, "Windows,Linux,MacOS"},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runPowerShellScript","name":"a","precondition":{"StringEquals":["platformType","Windows"]}},{"action":"aws:runShellScript","name":"b","precondition":{"StringEquals":["linux","platformType"]}}]}`, "Windows,Linux"},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:nope","name":"a"}]}`, ""},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:psModule","name":"a","precondition":{"StringEquals":["{{ a }}","x"]}}]}`, "Windows"},
	} {
		if got := strings.Join(mustDecode(t, tc.document).Platforms(), ","); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.document, got, tc.want)
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, s := range []Status{"", NotStarted, InProgress, SuccessAndReboot, PassedAndReboot} {
		if s.Terminal() {
			t.Error(s)
		}
	}
	if !slices.ContainsFunc([]Status{Success, Failed, Cancelled, TimedOut, Skipped}, Status.Terminal) {
		t.Error("nothing ends")
	}
}
