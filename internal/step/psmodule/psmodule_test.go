package psmodule

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// scripts notes what it is given to run.
type scripts struct{ in step.Input }

func (s *scripts) Run(_ context.Context, in step.Input) step.Outcome {
	s.in = in
	return step.Outcome{Status: doc.SuccessAndReboot, Code: 3010}
}

func pack(t *testing.T, files ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, "new "+name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type lab struct {
	modules string
	scripts scripts
}

func (l *lab) run(ctx context.Context, t *testing.T, module []byte, properties map[string]any) (step.Outcome, string) {
	t.Helper()
	var errs bytes.Buffer
	p := Plugin{Scripts: &l.scripts, Modules: l.modules, Fetch: func(_ context.Context, _ string, take func(io.Reader) error) error {
		if module == nil {
			return errors.New("no such host")
		}
		return take(bytes.NewReader(module))
	}}
	dir := t.TempDir()
	o := p.Run(ctx, step.Input{CommandID: "c", Properties: properties, CommandDir: dir, StepDir: filepath.Join(dir, "step"), Stdout: io.Discard, Stderr: &errs})
	if left, err := filepath.Glob(filepath.Join(dir, "step", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(l.modules, ".ssmagent-*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	return o, errs.String()
}

func TestModule(t *testing.T) {
	t.Parallel()
	l := &lab{modules: filepath.Join(t.TempDir(), "Modules")}
	for _, old := range []string{"Tool/1.0/Tool.psm1", "Tool/2.0/Tool.psm1", "Other/Other.psm1"} {
		name := filepath.Join(l.modules, filepath.FromSlash(old))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	module := pack(t, "Tool/2.0/Tool.psm1", "Tool/2.0/en-US/help.txt", `Back\slash.psm1`)
	o, said := l.run(t.Context(), t, module, map[string]any{"source": "https://h/m.zip", "runCommand": []any{"a", []any{"b", []any{"c"}}, "d"},
		"workingDirectory": "C:/w", "timeoutSeconds": "7"})
	if o.Status != doc.SuccessAndReboot || said != "" {
		t.Fatalf("%+v %q", o, said)
	}
	for name, want := range map[string]string{
		"Tool/1.0/Tool.psm1": "old", "Tool/2.0/Tool.psm1": "new Tool/2.0/Tool.psm1", "Tool/2.0/en-US/help.txt": "new Tool/2.0/en-US/help.txt",
		"Back/slash.psm1": `new Back\slash.psm1`, "Other/Other.psm1": "old",
	} {
		if b, err := os.ReadFile(filepath.Join(l.modules, filepath.FromSlash(name))); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	given, _ := l.scripts.in.Properties.(map[string]any)
	if lines, _ := given["runCommand"].([]string); !slices.Equal(lines, []string{"a", "b", "c", "d"}) || given["workingDirectory"] != "C:/w" || given["timeoutSeconds"] != "7" || l.scripts.in.CommandID != "" {
		t.Errorf("%+v", l.scripts.in)
	}
}

func TestWithoutModule(t *testing.T) {
	t.Parallel()
	l := &lab{modules: filepath.Join(t.TempDir(), "Modules")}
	if o, said := l.run(t.Context(), t, nil, map[string]any{"runCommand": "one line"}); o.Status != doc.SuccessAndReboot || said != "" {
		t.Errorf("%+v %q", o, said)
	}
	if _, err := os.Stat(l.modules); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of modules was made: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	deep := any("x")
	for range 9 {
		deep = []any{deep}
	}
	for want, c := range map[string]struct {
		module []byte
		change map[string]any
	}{
		"no such host":             {nil, nil},
		"it is no zip archive":     {[]byte("text"), nil},
		"would not lie below":      {pack(t, "../../evil.ps1"), nil},
		"is another file":          {pack(t, "a"), map[string]any{"sourceHash": strings.Repeat("0", 64)}},
		"runCommand holds 5":       {pack(t, "a"), map[string]any{"runCommand": []any{5}}},
		"more than 8 deep":         {pack(t, "a"), map[string]any{"runCommand": deep}},
		"source and sourceHash mu": {pack(t, "a"), map[string]any{"source": 1}},
	} {
		l := &lab{modules: filepath.Join(t.TempDir(), "Modules")}
		p := map[string]any{"source": "https://h/m.zip", "runCommand": "x"}
		for name, value := range c.change {
			p[name] = value
		}
		if o, said := l.run(t.Context(), t, c.module, p); o.Status != doc.Failed || !strings.Contains(said, want) || l.scripts.in.Properties != nil {
			t.Errorf("%s: %+v %q", want, o, said)
		}
		if left, err := filepath.Glob(filepath.Join(l.modules, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", want, left, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(step.ErrCancelled)
	if o, _ := (&lab{}).run(ctx, t, nil, nil); o.Status != doc.Cancelled {
		t.Errorf("%+v", o)
	}
}
