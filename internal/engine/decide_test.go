package engine

import (
	"strings"
	"testing"

	"ssmagent/internal/wire/doc"
)

func args(texts ...string) []doc.Argument {
	var a []doc.Argument
	for _, t := range texts {
		initial, resolved, changed := strings.Cut(t, "=>")
		if !changed {
			resolved = initial
		}
		a = append(a, doc.Argument{Initial: initial, Resolved: resolved})
	}
	return a
}

func TestDecide(t *testing.T) {
	t.Parallel()
	linux := map[string][]doc.Argument{"StringEquals": args("platformType", "Linux")}
	for _, tc := range []struct {
		name, action, platform string
		v22, handler, exit     bool
		pre                    map[string][]doc.Argument
		want                   operation
		reason                 string
	}{
		{"exit counts first", "aws:nope", "linux", true, false, true, nil, skip, ReasonPriorExit},
		{"old, unknown", "aws:nope", "linux", false, true, false, linux, fail, ReasonUnknown},
		{"old, not supported", "aws:runDocument", "macos", false, true, false, linux, fail, ReasonUnsupported},
		{"old, precondition", "aws:runShellScript", "linux", false, false, false, linux, fail, ReasonBefore22},
		{"old, no handler", "aws:psModule", "linux", false, false, false, nil, fail, ReasonNoHandler},
		{"old", "aws:runShellScript", "linux", false, true, false, nil, execute, ""},
		{"unknown", "aws:nope", "linux", true, true, false, nil, fail, ReasonUnknown},
		{"no handler", "aws:psModule", "linux", true, false, false, nil, skip, ReasonUnsupported},
		{"plain", "aws:runShellScript", "linux", true, true, false, nil, execute, ""},
		{"holds", "aws:runShellScript", "Linux", true, true, false, linux, execute, ""},
		{"does not hold", "aws:runShellScript", "macos", true, true, false, linux, skip, ReasonUnsatisfied},
		{"malformed, but elsewhere", "aws:psModule", "linux", true, false, false, map[string][]doc.Argument{"Nope": nil}, skip, ReasonUnsupported},
		{"malformed", "aws:runShellScript", "linux", true, true, false, map[string][]doc.Argument{"Nope": nil}, fail, ReasonUnrecognized},
		{"malformed and unsatisfied", "aws:runShellScript", "linux", true, true, false,
			map[string][]doc.Argument{"Nope": nil, "StringEquals": args("platformType", "Windows")}, skip, ReasonUnsatisfied},
		{"secure reference", "aws:runShellScript", "linux", true, true, false,
			map[string][]doc.Argument{"StringEquals": args("{{ ssm-secure:a/b }}", "{{ p }}=>x")}, fail, ReasonUnrecognized},
		{"changed to the platform", "aws:runShellScript", "linux", true, true, false,
			map[string][]doc.Argument{"StringEquals": args("{{ p }}=>Linux", "platformType")}, fail, ReasonUnrecognized},
		{"both changed, equal", "aws:runShellScript", "linux", true, true, false,
			map[string][]doc.Argument{"StringEquals": args("{{ p }}=>x", "{{ q }}=>x")}, execute, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := doc.Step{ID: "the-step", Action: tc.action, PreconditionsEnabled: tc.v22, Preconditions: tc.pre}
			v := decide(s, tc.platform, tc.handler, tc.exit)
			if v.operation != tc.want || v.reason != tc.reason {
				t.Errorf("%+v", v)
			}
			if v.operation != execute && (!strings.Contains(v.message, "the-step") || !strings.Contains(v.message, tc.action)) {
				t.Errorf("%q names not both", v.message)
			}
		})
	}
}
