package rundocument_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/step"
	"ssmagent/internal/step/rundocument"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
)

// lab is a step's surroundings: documents by name, and a shell.
type lab struct {
	rundocument.Plugin

	t         *testing.T
	dir       string
	documents map[string]string
	asked     []string
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, dir: t.TempDir(), documents: map[string]string{}}
	l.Plugin = rundocument.Plugin{
		Plugins:  step.Set{"aws:runShellScript": runscript.Plugin{Interpreter: runscript.Shell("/bin/sh")}},
		Platform: doc.Linux,
		Document: func(_ context.Context, name, version string) ([]byte, error) {
			l.asked = append(l.asked, name+"|"+version)
			d, ok := l.documents[name]
			if !ok {
				return nil, errors.New("InvalidDocument: there is none")
			}
			return []byte(d), nil
		},
	}
	return l
}

func (l *lab) run(kind, path string, parameters any) (o step.Outcome, stdout, stderr string) {
	l.t.Helper()
	var out, errs bytes.Buffer
	o = l.Run(l.t.Context(), step.Input{StepID: "S", CommandID: "the-command", CommandDir: l.dir, StepDir: filepath.Join(l.dir, "S"), Stdout: &out, Stderr: &errs,
		Properties: map[string]any{"documentType": kind, "documentPath": path, "documentParameters": parameters}})
	return o, out.String(), errs.String()
}

func (l *lab) fails(want, kind, path string, parameters any) {
	l.t.Helper()
	o, _, said := l.run(kind, path, parameters)
	if o.Status != doc.Failed || !strings.Contains(said, want) {
		l.t.Errorf("%s %.40s: %+v %q, want %q", kind, path, o, said, want)
	}
}

func (l *lab) write(path, content string) {
	l.t.Helper()
	name := filepath.Join(l.dir, "downloads", path)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// script is a document whose steps run the lines.
func script(lines ...string) string {
	var steps []string
	for i, l := range lines {
		steps = append(steps, fmt.Sprintf(`{"action":"aws:runShellScript","name":"s%d","inputs":{"runCommand":[%q]}}`, i, l))
	}
	return `{"schemaVersion":"2.2","parameters":{"who":{"type":"String","default":"nobody","allowedValues":["nobody","ada"]}},"mainSteps":[` + strings.Join(steps, ",") + `]}`
}

// calls is a document that runs another.
func calls(path, parameters string) string {
	return `{"schemaVersion":"2.2","parameters":{"n":{"type":"String","default":"0"}},"mainSteps":[{"action":"aws:runDocument","name":"in","inputs":{"documentType":"SSMDocument","documentPath":"` + path + `","documentParameters":` + parameters + `}}]}`
}

func TestResults(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.documents["Mine"] = script("echo {{ who }} $SSM_COMMAND_ID; echo e >&2", "printf two; exit 3", "echo three")
	o, out, errs := l.run("SSMDocument", "Mine:4", map[string]any{"who": "ada", "nothing": nil})
	if o.Status != doc.Failed || o.Code != 0 || out != "ada the-command\ntwothree\n" || errs != "e\nfailed to run commands: exit status 3" || l.asked[0] != "Mine|4" {
		t.Errorf("%+v %q %q %v", o, out, errs, l.asked)
	}
	for _, name := range []string{"S/downloads/Mine.json", "S/s0/_script.sh", "S/S/awsrunShellScript/s1/stdout"} {
		if _, err := os.Stat(filepath.Join(l.dir, name)); err != nil {
			t.Error(err)
		}
	}
	for exit, want := range map[string]doc.Status{"exit 0": doc.Success, "exit 194": doc.SuccessAndReboot, "exit 137": doc.TimedOut} {
		l := newLab(t)
		l.documents["arn:aws:ssm:us-east-1:111122223333:document/Mine"] = script(exit)
		if o, _, _ := l.run("SSMDocument", "arn:aws:ssm:us-east-1:111122223333:document/Mine", nil); o.Status != want {
			t.Errorf("%s: %+v", exit, o)
		}
	}
	if o, out, _ := l.run("SSMDocument", "AWS-Noop", nil); o.Status != doc.Success || out != "" {
		t.Errorf("%+v %q", o, out)
	}
	l.documents["Unknown"] = `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:nope","name":"x","inputs":{}}]}`
	l.fails("has an action that this agent does not know", "SSMDocument", "Unknown", nil)
	l.documents["Old"] = `{"schemaVersion":"1.2","runtimeConfig":{"aws:runShellScript":{"properties":[{"id":"0.aws:runShellScript","runCommand":["echo old"]}]}}}`
	if o, out, _ := l.run("SSMDocument", "Old", nil); o.Status != doc.Success || out != "old\n" {
		t.Errorf("%+v %q", o, out)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.write("d.json", script("echo {{ who }}"))
	l.write("sub/d.yml", "schemaVersion: '2.2'\nparameters:\n  who: {type: String, default: nobody}\nmainSteps:\n- {action: 'aws:runShellScript', name: s, inputs: {runCommand: ['echo {{ who }} in yaml']}}\n")
	absolute := filepath.Join(t.TempDir(), "abs.json")
	if err := os.WriteFile(absolute, []byte(script("echo {{ who }} {{ who }}")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path       string
		parameters any
		want       string
	}{
		{"d.json", nil, "nobody\n"}, {"d.json", map[string]any{"who": "ada"}, "ada\n"}, {"d.json", map[string]any{"who": nil}, "nobody\n"},
		{"d.json", `{"who":"ada"}`, "ada\n"}, {"d.json", "who: ada", "ada\n"}, {"d.json", "", "nobody\n"}, {"d.json", "who: null\n", "nobody\n"},
		{"sub/d.yml", nil, "nobody in yaml\n"}, {absolute, "{who: ada}", "ada ada\n"},
	} {
		if o, out, errs := l.run("LocalPath", tc.path, tc.parameters); o.Status != doc.Success || out != tc.want {
			t.Errorf("%s %v: %+v %q %q", tc.path, tc.parameters, o, out, errs)
		}
		l.dir, l.documents = movedOn(t, l.dir), nil
	}
	l.Store = store{}
	l.write("ref.json", strings.ReplaceAll(script("echo {{ssm:/app/x}} {{ssm-secure:y}}"), "nobody", "ada"))
	if o, out, errs := l.run("LocalPath", "ref.json", nil); o.Status != doc.Success || out != "from the store {{ssm-secure:y}}\n" {
		t.Errorf("%+v %q %q", o, out, errs)
	}
	l.fails("AllowedValueParamValidator", "LocalPath", "d.json", map[string]any{"who": "eve"})
	l.fails("must be an object", "LocalPath", "d.json", []any{1})
	l.fails("documentParameters", "LocalPath", "d.json", "- a\n- b\n")
}

// store is a Parameter Store with one value under every name.
type store struct{}

func (store) GetParameters(_ context.Context, names []string) (found []doc.StoreParameter, err error) {
	for _, n := range names {
		found = append(found, doc.StoreParameter{Name: n, Type: "String", Value: "from the store"})
	}
	return found, nil
}

// movedOn is a command's directory with the downloads of another.
func movedOn(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "downloads"), os.DirFS(filepath.Join(from, "downloads"))); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.fails("nothing was downloaded", "LocalPath", "d.json", nil)
	l.write("empty", " \n")
	l.write("dir/x", "x")
	l.write("big", strings.Repeat(" ", doc.MaxPayload)+"{}")
	l.write("no.json", `{"schemaVersion":"2.2",`)
	l.write("deep", strings.Repeat("[", 200_000))
	l.write("bomb.yml", bomb())
	outside := filepath.Join(t.TempDir(), "out.json")
	if err := os.WriteFile(outside, []byte(script("true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(l.dir, "downloads", "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"empty": "is empty", "dir": "is no file", "big": "more than", "no.json": "cannot be decoded", "deep": "cannot be decoded", "bomb.yml": "cannot be decoded", "none": "documentPath",
		"link": "escapes", "../../etc/passwd": "escapes", "/dev/zero": "is no file", "x\x00": "NUL", strings.Repeat("n", 300): "too long",
	} {
		l.fails(want, "LocalPath", path, nil)
	}
	l.fails("is neither SSMDocument nor LocalPath", "ssmdocument", "x", nil)
	l.fails("InvalidDocument", "SSMDocument", "nothing", nil)
	if o := l.Run(t.Context(), step.Input{Stderr: &bytes.Buffer{}, Properties: map[string]any{"documentPath": 7}}); o.Reason != step.ReasonInput {
		t.Errorf("%+v", o)
	}
}

// bomb is YAML whose aliases stand for more than any document holds.
func bomb() string {
	s := "schemaVersion: '2.2'\nmainSteps:\n- {action: 'aws:runShellScript', name: s, inputs: {x: *i}}\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		s = strings.Replace(s, "schemaVersion", fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\nschemaVersion", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1), 1)
	}
	return "a: &a [x,x,x,x,x,x,x,x,x]\n" + strings.Replace(s, "a: &a [x,x,x,x,x,x,x,x,x]\n", "", 1)
}

func TestNesting(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.documents = map[string]string{
		"Leaf": script("echo leaf"), "One": calls("Leaf", "null"), "Two": calls("One", "null"), "Three": calls("Two", "null"),
		"Self": calls("Self", "null"), "Ping": calls("Pong", "null"), "Pong": calls("Ping", "null"),
		"Counting": calls("Counting", `{"n":"{{ n }}1"}`),
	}
	if o, out, errs := l.run("SSMDocument", "Two", nil); o.Status != doc.Success || out != "leaf\n" {
		t.Errorf("%+v %q %q", o, out, errs)
	}
	l.fails("documents are nested more than 3 deep: Three → Two → One → Leaf", "SSMDocument", "Three", nil)
	l.fails("the document runs itself without end: Self → Self; break the circle", "SSMDocument", "Self", nil)
	l.fails("the document runs itself without end: Ping → Pong → Ping", "SSMDocument", "Ping", nil)
	l.fails("nested more than 3 deep: Counting → Counting → Counting → Counting", "SSMDocument", "Counting", nil)
}

// TestCancelReachesTheInnermost: stock agents cannot cancel what a document in
// a document runs.
func TestCancelReachesTheInnermost(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	l.Plugins = step.Set{"aws:runShellScript": fn(func(ctx context.Context, in step.Input) step.Outcome {
		fmt.Fprint(in.Stdout, in.StepID)
		cancel(step.ErrCancelled)
		<-ctx.Done()
		return step.Stopped(ctx, in, nil)
	})}
	l.documents = map[string]string{"Leaf": script("a", "b"), "One": calls("Leaf", "null")}
	var out, errs bytes.Buffer
	o := l.Run(ctx, step.Input{StepID: "S", CommandDir: l.dir, StepDir: filepath.Join(l.dir, "S"), Stdout: &out, Stderr: &errs,
		Properties: map[string]any{"documentType": "SSMDocument", "documentPath": "One"}})
	if o.Status != doc.Cancelled || out.String() != "s0" || errs.String() != step.ErrCancelled.Error() {
		t.Errorf("%+v %q %q", o, out.String(), errs.String())
	}
}

// fn is a plugin in a function.
type fn func(ctx context.Context, in step.Input) step.Outcome

func (f fn) Run(ctx context.Context, in step.Input) step.Outcome { return f(ctx, in) }
