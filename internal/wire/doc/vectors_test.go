package doc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vector is one recorded document (testdata/documents.json, "about").
type vector struct {
	ID             string
	Entry          string
	Document       json.RawMessage
	DocumentYAML   string `json:"documentYaml"`
	Parameters     map[string]json.RawMessage
	ParameterStore fakeStore
	Expected       struct {
		Parse struct {
			Result, ErrorClass string
			ErrorContains      []string
			ErrorCount         int
		}
		Steps []struct {
			Action, ID             string
			Inputs, Settings       any
			OrchestrationDirectory string
			Preconditions          map[string][]struct{ Initial, Resolved string }
			PreconditionsEnabled   bool
		}
	}
}

type vectors struct {
	Vectors   []vector
	Auxiliary map[string]struct{ Cases []json.RawMessage }
}

func load(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) != 54 || len(v.Auxiliary) != 13 {
		t.Fatalf("%d vectors, %d tables", len(v.Vectors), len(v.Auxiliary))
	}
	return v
}

// fakeStore is a Parameter Store by name. It counts and checks its calls.
type fakeStore map[string]struct {
	Type, Value string
	Version     int
}

func (s fakeStore) GetParameters(_ context.Context, names []string) ([]StoreParameter, error) {
	if len(names) == 0 || len(names) > 10 {
		return nil, errors.New("1 to 10 names in a call")
	}
	var found []StoreParameter
	for _, n := range names {
		bare, version, _ := strings.Cut(n, ":")
		if p, ok := s[bare]; ok {
			sp := StoreParameter{Name: bare, Type: p.Type, Value: p.Value}
			if version != "" {
				sp.Selector = ":" + version
			}
			found = append(found, sp)
		}
	}
	return found, nil
}

func (v vector) decode() (Document, error) {
	if v.DocumentYAML != "" {
		return DecodeYAML([]byte(v.DocumentYAML))
	}
	return Decode(v.Document)
}

func (v vector) resolve(t *testing.T) ([]Step, error) {
	d, err := v.decode()
	if err != nil {
		return nil, err
	}
	return d.Resolve(t.Context(), v.Parameters, Options{ValidateAll: v.Entry == "runDocument", Store: v.ParameterStore})
}

var classes = map[string][]error{
	"DocumentDecode":            {ErrDecode},
	"UnsupportedSchemaVersion":  {ErrSchemaVersion},
	"NoSteps":                   {ErrNoSteps},
	"ParameterValidation":       {ErrValidation},
	"InvalidParameterStoreName": {ErrStoreName},
	"SecureStringNotAllowed":    {ErrSecureString},
	"StringListAsString":        {ErrStringList},
	"InternalParseError":        {ErrInternal},
	"Panic":                     {ErrPrecondition, ErrParameterName}, // stock agents crash
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range load(t).Vectors {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			steps, err := v.resolve(t)
			if v.Expected.Parse.Result != "ok" {
				v.checkError(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(v.ID, "x35") {
				// ENV_VAR works here, unlike in the studied agent: the value
				// travels in the environment and is not pasted.
				want := "echo {{ Message }} $SSM_Message"
				if got := steps[0].Inputs.(map[string]any)["runCommand"].([]any)[0]; got != want || steps[0].Env["SSM_Message"] != "a;b" {
					t.Errorf("got %q, %v", got, steps[0].Env)
				}
				return
			}
			v.checkSteps(t, steps)
		})
	}
}

func (v vector) checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	var is bool
	for _, s := range classes[v.Expected.Parse.ErrorClass] {
		is = is || errors.Is(err, s)
	}
	if !is {
		t.Errorf("not of class %s: %v", v.Expected.Parse.ErrorClass, err)
	}
	for _, part := range v.Expected.Parse.ErrorContains {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if n := v.Expected.Parse.ErrorCount; n > 0 && n != strings.Count(err.Error(), "\n")+1 {
		t.Errorf("%d findings expected: %v", n, err)
	}
}

func (v vector) checkSteps(t *testing.T, steps []Step) {
	t.Helper()
	if len(steps) != len(v.Expected.Steps) {
		t.Fatalf("%d steps, %d expected", len(steps), len(v.Expected.Steps))
	}
	for i, want := range v.Expected.Steps {
		got := steps[i]
		if got.Action != want.Action || got.ID != want.ID || got.PreconditionsEnabled != want.PreconditionsEnabled ||
			"<orchestration>/"+got.Dir != want.OrchestrationDirectory {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		if a, b := sameJSON(t, got.Inputs), sameJSON(t, want.Inputs); !reflect.DeepEqual(a, b) {
			t.Errorf("inputs %v\nwant %v", a, b)
		}
		if a, b := sameJSON(t, got.Settings), sameJSON(t, want.Settings); !reflect.DeepEqual(a, b) {
			t.Errorf("settings %v\nwant %v", a, b)
		}
		if len(got.Preconditions) != len(want.Preconditions) {
			t.Errorf("preconditions %v\nwant %v", got.Preconditions, want.Preconditions)
		}
		for op, args := range want.Preconditions {
			for k, a := range args {
				if len(got.Preconditions[op]) != len(args) || got.Preconditions[op][k] != Argument(a) {
					t.Errorf("precondition %s %v\nwant %v", op, got.Preconditions[op], args)
				}
			}
		}
	}
}

// sameJSON takes v through JSON, so that 5 and 5.0 are one.
func sameJSON(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func table[C any](t *testing.T, v vectors, name string, check func(C)) {
	t.Helper()
	if len(v.Auxiliary[name].Cases) == 0 {
		t.Fatalf("no table %s", name)
	}
	for _, raw := range v.Auxiliary[name].Cases {
		var c C
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		check(c)
	}
}

// TestTables goes through the recorded tables that concern documents; those of
// packages, git, domain join and msi belong to their plugins.
func TestTables(t *testing.T) {
	t.Parallel()
	v := load(t)
	table(t, v, "executionTimeout", func(c struct {
		Input   any
		Seconds int
	}) {
		if got := ExecutionTimeout(c.Input); got.Seconds() != float64(c.Seconds) {
			t.Errorf("timeout %v: %v, want %d s", c.Input, got, c.Seconds)
		}
	})
	table(t, v, "standardStreamTruncation", func(c struct {
		InputBytes, OutputBytes int
		Truncated               bool
	}) {
		got := TruncateStream(strings.Repeat("x", c.InputBytes))
		if len(got) != c.OutputBytes || strings.HasSuffix(got, "--output truncated--") != c.Truncated {
			t.Errorf("stream of %d: %d bytes", c.InputBytes, len(got))
		}
	})
	table(t, v, "outputFieldTruncation", func(c outputCase) { c.check(t) })
	table(t, v, "mergeStatus", func(c struct{ Current, New, Merged Status }) {
		if got := Merge(c.Current, c.New); got != c.Merged {
			t.Errorf("%s with %s: %s, want %s", c.Current, c.New, got, c.Merged)
		}
	})
	table(t, v, "documentStatus", func(c struct {
		Steps    []Status
		Document Status
	}) {
		if got := Aggregate(c.Steps); got != c.Document {
			t.Errorf("%v: %s, want %s", c.Steps, got, c.Document)
		}
	})
	table(t, v, "versionCompare", func(c struct {
		Left, Right string
		Result      int
		Error       bool
	}) {
		if got, err := CompareVersions(c.Left, c.Right); got != c.Result || (err != nil) != c.Error {
			t.Errorf("%q against %q: %d, %v", c.Left, c.Right, got, err)
		}
	})
	// Our rule is stricter than the recorded one, as the reference advises:
	// no accepted id may lead elsewhere, and one that is refused there is
	// refused here.
	table(t, v, "propertyId", func(c struct {
		ID       string
		Accepted bool
	}) {
		dir := PropertyDir(c.ID)
		if !c.Accepted && dir != "" || c.ID == "0.aws:runShellScript" && dir != "0.awsrunShellScript" || strings.ContainsAny(dir, `/\:`) || dir == ".." {
			t.Errorf("property id %q: directory %q", c.ID, dir)
		}
	})
	table(t, v, "documentNameVersion", func(c struct{ Input, Name, Version string }) {
		if n, ver := NameVersion(c.Input); n != c.Name || ver != c.Version {
			t.Errorf("%q: name %q version %q", c.Input, n, ver)
		}
	})
}

type outputCase struct {
	StdoutBytes, StderrBytes, OutputBytes, StdoutKept, StderrKept int
	ErrorTitle, StdoutMarker, StderrMarker                        bool
}

func (c outputCase) check(t *testing.T) {
	t.Helper()
	got := TruncateOutput(strings.Repeat("o", c.StdoutBytes), strings.Repeat("e", c.StderrBytes))
	want := strings.Repeat("o", c.StdoutKept)
	if c.StdoutMarker {
		want += "\n---Output truncated---"
	}
	if c.ErrorTitle {
		want += "\n----------ERROR-------\n"
	}
	want += strings.Repeat("e", c.StderrKept)
	if c.StderrMarker {
		want += "\n---Error truncated----"
	}
	if got != want || len(got) != c.OutputBytes {
		t.Errorf("%+v: %d bytes", c, len(got))
	}
}
