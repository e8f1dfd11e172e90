package doc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestMisfitsAllAtOnce: every value of a wrong type is told, with its path.
func TestMisfitsAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Decode([]byte(`{"schemaVersion":2.2,"Description":[],"parameters":{"p":{"type":7,"allowedValues":["a",1],"minChars":"x"},"q":[]},
		"mainSteps":[{"action":null,"name":{},"precondition":{"StringEquals":["platformType",3]},"timeoutSeconds":1.5},"step"],"runtimeConfig":{"a":{"description":1}},"new":1}`))
	if !errors.Is(err, ErrDecode) {
		t.Fatal(err)
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), "document: document cannot be decoded: ", ""), "\n")
	want := []string{
		"$.Description is a JSON array where a string is needed",
		"$.mainSteps[0].name is a JSON object where a string is needed",
		"$.mainSteps[0].precondition.StringEquals[1] is a JSON number where a string is needed",
		"$.mainSteps[0].timeoutSeconds is a JSON number where an integer is needed",
		"$.mainSteps[1] is a JSON string where an object is needed",
		"$.parameters.p.allowedValues[1] is a JSON number where a string is needed",
		"$.parameters.p.minChars is a JSON string where a number is needed",
		"$.parameters.p.type is a JSON number where a string is needed",
		"$.parameters.q is a JSON array where an object is needed",
		"$.runtimeConfig.a.description is a JSON number where a string is needed",
		"$.schemaVersion is a JSON number where a string is needed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	many := `{"schemaVersion":"2.2","mainSteps":[` + strings.TrimSuffix(strings.Repeat("7,", 1000), ",") + `]}`
	if _, err := Decode([]byte(many)); strings.Count(err.Error(), "\n") != maxFound-1 {
		t.Errorf("%d findings", strings.Count(err.Error(), "\n")+1)
	}
}

// TestFaultsOfStepsAllAtOnce: also those that show when the steps are made.
func TestFaultsOfStepsAllAtOnce(t *testing.T) {
	t.Parallel()
	d := mustDecode(t, `{"schemaVersion":"2.2","parameters":{"l":{"type":"StringList","default":["x"]}},"mainSteps":[
		{"action":"aws:runShellScript","name":"../up","inputs":{"a":"{{ssm:one}}"}},{"action":"aws:runShellScript","name":"ok","settings":"{{ssm:two}}"}]}`)
	_, err := d.Resolve(t.Context(), nil, Options{Store: fakeStore{}})
	for _, want := range []string{`$.mainSteps[0].name: unusable name`, `$.mainSteps[0].inputs: invalid Parameter Store name: one`, `$.mainSteps[1].settings: invalid Parameter Store name: two`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	d = mustDecode(t, `{"schemaVersion":"2.2","parameters":{"l":{"type":"StringList","default":["x"]}},"mainSteps":[
		{"action":"a","name":"a","precondition":{"StringEquals":["{{l}}","x"]}},{"action":"a","name":"b","precondition":{"StringEquals":["x","{{ l }}"]}}]}`)
	_, err = d.Resolve(t.Context(), nil, Options{})
	if !errors.Is(err, ErrPrecondition) || !strings.Contains(err.Error(), "$.mainSteps[0].precondition: ") || !strings.Contains(err.Error(), "$.mainSteps[1].precondition: ") {
		t.Error(err)
	}
	d = mustDecode(t, `{"schemaVersion":"1.2","runtimeConfig":{"aws:runShellScript":{"properties":"{{ssm:one}}"},"a/b":{"settings":"{{ssm:two}}"}}}`)
	_, err = d.Resolve(t.Context(), nil, Options{Store: fakeStore{}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
}

// TestHostileDocuments: each is refused with a sentence, or harmless.
func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	inputs := func(v string) string {
		return `{"schemaVersion":"2.2","parameters":{"p":{"type":"String","default":"x"}},"mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":` + v + `}]}`
	}
	named := func(name string) string {
		b, _ := json.Marshal(name)
		return `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":` + string(b) + `,"inputs":{}}]}`
	}
	deep := func(n int) string { return strings.Repeat("[", n) + `"{{p}}"` + strings.Repeat("]", n) }
	big, _ := json.Marshal(strings.Repeat("{{p}}", 20_000))
	for _, tc := range []struct {
		name, document string
		supplied       map[string]json.RawMessage
		want           error // nil: it resolves
	}{
		{"nesting of 9,000", inputs(deep(9_000)), nil, nil},
		{"nesting of 10,000", inputs(deep(10_000)), nil, ErrDecode},
		{"nesting of 300,000", inputs(deep(300_000)), nil, ErrDecode},
		{"a parameter of 5 MB", inputs(`["{{p}}"]`), map[string]json.RawMessage{"p": json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)}, nil},
		{"a parameter of 5 MB twice", inputs(`["{{p}}","{{p}}"]`), map[string]json.RawMessage{"p": json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)}, ErrTooLarge},
		{"a document of 5 MB", inputs(`"` + strings.Repeat("x", 5<<20) + `"`), nil, ErrTooLarge},
		{"parameters that multiply", inputs(string(big)), map[string]json.RawMessage{"p": json.RawMessage(`"` + strings.Repeat("x", 1000) + `"`)}, ErrTooLarge},
		{"NUL in a name", named("a\x00b"), nil, ErrName},
		{"a name of 300", named(strings.Repeat("n", 300)), nil, ErrName},
		{"a name that goes up", named("../../etc"), nil, ErrName},
		{"a device of Windows", named("CON"), nil, nil}, // a name like any other here; there the directory cannot be made
		{"a parameter that is no JSON", inputs(`{}`), map[string]json.RawMessage{"p": json.RawMessage(`{`)}, ErrDecode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := Decode([]byte(tc.document))
			if err == nil {
				_, err = d.Resolve(t.Context(), tc.supplied, Options{ValidateAll: true})
			}
			if !errors.Is(err, tc.want) || err != nil && len(err.Error()) > 600 {
				t.Errorf("%.700v", err)
			}
		})
	}
}

// TestAliasBombs: YAML whose aliases stand for more than any document holds.
func TestAliasBombs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("schemaVersion: '2.2'\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i <= 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	b.WriteString("mainSteps: [{action: 'aws:runShellScript', name: s, inputs: {x: *a9}}]\n")
	for name, text := range map[string]string{
		"aliases": b.String(), "a circle": "schemaVersion: '2.2'\nmainSteps: [{name: s, inputs: &a [*a]}]\n",
		"depth": "schemaVersion: '2.2'\nmainSteps: [{name: s, inputs: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}]\n",
		"tag":   "schemaVersion: '2.2'\nmainSteps: !!binary x\n",
	} {
		if _, err := DecodeYAML([]byte(text)); !errors.Is(err, ErrDecode) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ValuesFromYAML([]byte(b.String())); !errors.Is(err, ErrDecode) {
		t.Error(err)
	}
	values, err := ValuesFromYAML([]byte("a: yes\nb: [1, x]\nc:\nd: {1: x, e: 2}\n"))
	if err != nil || len(values) != 3 || string(values["a"]) != "true" || string(values["b"]) != `[1,"x"]` || string(values["d"]) != `{"e":2}` {
		t.Errorf("%s %v", values, err)
	}
}

func TestDecodeAny(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"schemaVersion":"2.2","mainSteps":[{"name":"a"}]}`: true, "schemaVersion: '2.2'\nmainSteps: [{name: a}]": true, "{schemaVersion: '2.2', mainSteps: [{name: a}]}": true,
		`{"schemaVersion":"2.2","mainSteps":[`: false, `{"schemaVersion":2.2}`: false, "": false, "just text": false, "[]": false,
	} {
		if d, err := DecodeAny([]byte(text)); (err == nil) != ok || ok && d.MainSteps[0].Name != "a" {
			t.Errorf("%s: %+v %v", text, d, err)
		}
	}
}

func FuzzValuesFromYAML(f *testing.F) {
	f.Add([]byte("a: {b: [1, .inf]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := ValuesFromYAML(b)
		for name, v := range values {
			if err != nil || !json.Valid(v) || string(v) == "null" {
				t.Errorf("%q is %s, %v", name, v, err)
			}
		}
	})
}

func FuzzMisfits(f *testing.F) {
	seeds(f, func(v vector) { f.Add([]byte(v.Document)) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Document
		if err := misfits(b); err != nil && json.Unmarshal(b, &d) == nil {
			t.Errorf("%s decodes, but %v", b, err)
		}
	})
}
