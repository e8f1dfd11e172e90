package doc

import (
	"strings"
	"testing"
)

const declared = `{"schemaVersion":"2.2","parameters":{
	"s":{"type":"String","allowedPattern":"^[a-z]*$","maxChars":5},
	"v":{"type":"String","default":"a","allowedValues":["a","b"]},
	"l":{"type":"StringList","default":["x"],"maxItems":2,"minItems":1},
	"b":{"type":"Boolean","default":false},
	"i":{"type":"Integer","default":1,"allowedPattern":"^[0-9]$"},
	"m":{"type":"StringMap","default":{}},
	"ml":{"type":"MapList","default":[]}},
	"mainSteps":[{"action":"aws:runShellScript","name":"x","inputs":{}}]}`

func TestCheckParameters(t *testing.T) {
	t.Parallel()
	d := mustDecode(t, declared)
	for _, tc := range []struct {
		name  string
		given map[string][]string
		want  []string // a part of each sentence
	}{
		{"right", map[string][]string{"s": {"abc"}, "v": {"b"}, "l": {"1", "2"}, "b": {"true"}, "i": {"7"}, "m": {`{"a":{"b":1}}`}, "ml": {`{"a":1}`, `{"b":2}`}}, nil},
		{"missing", nil, []string{`"s" is required`}},
		{"surplus", map[string][]string{"s": {"a"}, "S": {"a"}}, []string{`"S" is not declared`}},
		{"two for a String", map[string][]string{"s": {"a", "b"}}, []string{`"s" is of type String and takes one value, not 2`}},
		{"none for a String", map[string][]string{"s": {}}, []string{`"s" is of type String`}},
		{"pattern", map[string][]string{"s": {"ABC"}}, []string{`"s" has the value /ABC/ that does not match`}},
		{"too long", map[string][]string{"s": {"abcdef"}}, []string{`"s" has a value of 6 characters`}},
		{"not allowed", map[string][]string{"s": {"a"}, "v": {"c"}}, []string{`"v" has the value /c/, allowed are a, b`}},
		{"too many", map[string][]string{"s": {"a"}, "l": {"1", "2", "3"}}, []string{`"l" has 3 items`}},
		{"too few", map[string][]string{"s": {"a"}, "l": {}}, []string{`"l" has 0 items`}},
		{"no boolean", map[string][]string{"s": {"a"}, "b": {"yes"}}, []string{`"b" is of type Boolean`}},
		{"no integer", map[string][]string{"s": {"a"}, "i": {"1.5"}}, []string{`"i" is of type Integer`}},
		{"large integer", map[string][]string{"s": {"a"}, "i": {"99999999999"}}, []string{`"i" is of type Integer`}},
		{"integer against its pattern", map[string][]string{"s": {"a"}, "i": {"12"}}, []string{`"i" has the value /12/`}},
		{"no map", map[string][]string{"s": {"a"}, "m": {`[1]`}}, []string{`"m" is of type StringMap`}},
		{"two JSON values", map[string][]string{"s": {"a"}, "m": {`{} {}`}}, []string{`"m" is of type StringMap`}},
		{"no maps", map[string][]string{"s": {"a"}, "ml": {`"x"`}}, []string{`"ml" is of type MapList`}},
		{"all at once", map[string][]string{"b": {"yes"}, "zz": {}}, []string{`"b"`, `"zz"`, `"s" is required`}},
		{"the store's are the agent's to check", map[string][]string{"s": {"{{ssm:NAME}}"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			errs := d.CheckParameters(tc.given)
			if len(errs) != len(tc.want) {
				t.Fatalf("%d findings: %v", len(errs), errs)
			}
			for i, want := range tc.want {
				if !strings.Contains(errs[i].Error(), want) || strings.Contains(errs[i].Error(), "\n") {
					t.Errorf("%q lacks %q", errs[i], want)
				}
			}
			if _, err := d.ServiceParameters(tc.given); (err != nil) != (len(tc.want) > 0) {
				t.Errorf("ServiceParameters: %v", err)
			}
		})
	}
}

func TestServiceParameters(t *testing.T) {
	t.Parallel()
	got, err := mustDecode(t, declared).ServiceParameters(map[string][]string{
		"s": {"a"}, "l": {"<x>"}, "b": {"True"}, "i": {"3"}, "m": {`{"k":12345678901234567890}`}, "ml": {`[{"a":1},{}]`},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s": `"a"`, "l": `["<x>"]`, "b": `true`, "i": `3`, "m": `{"k":12345678901234567890}`, "ml": `[{"a":1},{}]`} {
		if string(got[name]) != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if _, ok := got["v"]; ok || len(got) != 6 {
		t.Errorf("a default travels: %v", got)
	}
}

func TestCheckContent(t *testing.T) {
	t.Parallel()
	if errs := mustDecode(t, declared).CheckContent(); len(errs) != 0 {
		t.Error(errs)
	}
	for _, tc := range []struct{ document, want string }{
		{`{"schemaVersion":"1.2","runtimeConfig":{"aws:nope":{"properties":{}}}}`, `$.runtimeConfig.aws:nope: "aws:nope" is not an action`},
		{`{"schemaVersion":"1.2","runtimeConfig":{"aws:runShellScript":{"properties":[{"runCommand":"{{ c }}"}]}}}`, `$.runtimeConfig.aws:runShellScript.properties[0].runCommand: {{ c }} is not`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:x","name":"a"}]}`, `$.mainSteps[0].action`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a/b"}]}`, `$.mainSteps[0].name`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":"x"}]}`, `$.mainSteps[0].inputs: must be an object`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a"},{"action":"aws:runShellScript","name":"a"}]}`, `$.mainSteps[1].name: "a" is the name of mainSteps[0]`},
		{`{"schemaVersion":"2.0","mainSteps":[{"action":"aws:runShellScript","name":"a","precondition":{"StringEquals":["platformType","Linux"]}}]}`, `$.mainSteps[0].precondition: preconditions need`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","precondition":{"Like":["platformType","Linux"]}}]}`, `$.mainSteps[0].precondition.Like`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","precondition":{"StringEquals":["platformType"]}}]}`, `$.mainSteps[0].precondition.StringEquals: takes two`},
		{`{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","precondition":{"StringEquals":["{{ p }}","x"]}}]}`, `$.mainSteps[0].precondition.StringEquals[0]: {{ p }}`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"Text"}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.type`},
		{`{"schemaVersion":"2.2","parameters":{"p q":{"type":"String"}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p q: a parameter's name`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"String","allowedPattern":"(?=x)"}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.allowedPattern`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"StringList","default":"x"}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.default: is not of type StringList`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"MapList","default":["x"]}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.default: is not of type MapList`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"Integer","default":1.5}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.default: is not of type Integer`},
		{`{"schemaVersion":"2.2","parameters":{"p":{"type":"String","default":"x","allowedValues":["y"]}},"mainSteps":[{"action":"aws:runShellScript","name":"a"}]}`, `$.parameters.p.default: has the value /x/`},
	} {
		errs := mustDecode(t, tc.document).CheckContent()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), tc.want) {
			t.Errorf("%s\n%v\nwant %s", tc.document, errs, tc.want)
		}
	}
	if errs := (Document{SchemaVersion: "0.3"}).CheckContent(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "$: unsupported") {
		t.Error(errs)
	}
}
