package applications

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
	"ssmagent/platform/software"
)

const product = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"

// machine notes how its installer is called, and ends it with a code.
type machine struct {
	t         *testing.T
	dir       string
	code      int
	hangs     bool
	deep      string // what the step's directory lies below
	installed []software.Program
	line      string
}

func (m *machine) start(s proc.Spec) (proc.Process, error) {
	m.line = filepath.ToSlash(strings.ReplaceAll(s.CommandLine, m.dir, "D"))
	if b, err := os.ReadFile(filepath.Join(m.dir, "step", "source-app.msi")); strings.Contains(m.line, "source-app.msi") && (err != nil || string(b) != "package") {
		m.t.Errorf("the fetched package: %q %v", b, err)
	}
	if _, err := io.WriteString(s.Stdout, "said"); err != nil {
		return nil, err
	}
	p := &process{code: m.code, killed: make(chan struct{})}
	if !m.hangs {
		close(p.killed)
	}
	return p, nil
}

// process ends when it is killed.
type process struct {
	proc.Process

	code   int
	killed chan struct{}
}

func (p *process) Wait(context.Context) (proc.State, error) {
	<-p.killed
	return proc.State{Code: p.code}, nil
}

func (p *process) KillGroup() error { close(p.killed); return nil }

func (m *machine) run(ctx context.Context, c clock.Clock, properties map[string]any) (o step.Outcome, stdout, stderr string) {
	var out, errs bytes.Buffer
	m.dir = filepath.Join(m.t.TempDir(), m.deep)
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	p := Plugin{
		Program: "/System32/msiexec.exe", Start: m.start, Clock: c,
		Fetch: func(_ context.Context, _ string, take func(io.Reader) error) error {
			return take(strings.NewReader("package"))
		},
		ProductCode: func(string) (string, error) { return product, nil },
		Installed:   func() ([]software.Program, error) { return m.installed, nil },
	}
	o = p.Run(ctx, step.Input{Properties: properties, CommandDir: m.dir, StepDir: filepath.Join(m.dir, "step"), Stdout: &out, Stderr: &errs})
	if left, err := filepath.Glob(filepath.Join(m.dir, "step", "*.msi")); err != nil || len(left) > 0 {
		m.t.Errorf("%v is left, %v", left, err)
	}
	return o, out.String(), errs.String()
}

func properties(action, parameters string) map[string]any {
	return map[string]any{"action": action, "parameters": parameters, "source": "https://host/app.msi?v=1"}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ action, parameters, want string }{
		{"Install", "", `/i "D/step/source-app.msi" /quiet /norestart /log "D/step/source-app.msi.msiexec.log.txt"`},
		{"Uninstall", " A=1 ", `/x "D/step/source-app.msi" /quiet /norestart /log "D/step/source-app.msi.msiexec.log.txt" A=1`},
		{"Repair", `A="x y" B=2`, `/fa "D/step/source-app.msi" /quiet /norestart /log "D/step/source-app.msi.msiexec.log.txt" A="x y" B=2`},
	} {
		m := &machine{t: t}
		o, stdout, stderr := m.run(t.Context(), clock.Real{}, properties(c.action, c.parameters))
		if o.Status != doc.Success || o.Code != 0 || stdout != "https://host/app.msi?v=1said" || stderr != "" {
			t.Errorf("%s: %+v %q %q", c.action, o, stdout, stderr)
		}
		if want := `"/System32/msiexec.exe" ` + c.want; m.line != want {
			t.Errorf("%s\nwant %s", m.line, want)
		}
	}
	name := filepath.Join(t.TempDir(), "my app.msi")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t}
	o, _, _ := m.run(t.Context(), clock.Real{}, map[string]any{"action": "Install", "source": name, "id": "one"})
	if want := `/i "` + filepath.ToSlash(name) + `" /quiet /norestart /log "D/step/one/my app.msi.msiexec.log.txt"`; o.Status != doc.Success || !strings.HasSuffix(m.line, want) {
		t.Errorf("%+v %s", o, m.line)
	}
	if _, err := os.Stat(name); err != nil {
		t.Errorf("a package of the machine's is gone: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	there := []software.Program{{ID: strings.ToLower(product)}}
	for _, c := range []struct {
		action string
		code   int
		there  []software.Program
		want   doc.Status
		say    string
	}{
		{"Install", 3010, nil, doc.SuccessAndReboot, ""},
		{"Repair", 1641, nil, doc.SuccessAndReboot, ""},
		{"Uninstall", 1605, nil, doc.Success, ""},
		{"Uninstall", 1605, there, doc.Failed, "ErrorCode:{1605}"},
		{"Install", 1605, nil, doc.Failed, "the product is not installed"},
		{"Install", 1618, nil, doc.Failed, "another installation is running"},
		{"Install", 1603, nil, doc.Failed, "source-app.msi.msiexec.log.txt}; Source:{https://host/app.msi?v=1};"},
		{"Install", 7, nil, doc.Failed, "Action:{Install}; Status:{Failed}; ErrorCode:{7}; ErrorMsg:{exit status 7}; Description:{the Windows Installer failed"},
	} {
		m := &machine{t: t, code: c.code, installed: c.there}
		o, _, stderr := m.run(t.Context(), clock.Real{}, properties(c.action, ""))
		if o.Status != c.want || c.want == doc.Failed && o.Code != c.code || !strings.Contains(stderr, c.say) || c.say == "" && stderr != "" {
			t.Errorf("%s, %d: %+v %q", c.action, c.code, o, stderr)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	m := &machine{t: t, hangs: true}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(step.ErrCancelled) })
	if o, _, _ := m.run(ctx, clock.Real{}, properties("Install", "")); o.Status != doc.Cancelled {
		t.Errorf("%+v", o)
	}
	if o, _, stderr := m.run(t.Context(), hasty{}, properties("Install", "")); o.Status != doc.TimedOut || !strings.Contains(o.Error, "did not end in time") {
		t.Errorf("%+v %q", o, stderr)
	}
}

// hasty is a clock whose timers are fast.
type hasty struct{ clock.Real }

func (hasty) NewTimer(d time.Duration) clock.Timer { return clock.Real{}.NewTimer(d / 100_000) }

func TestRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]map[string]any{
		"is not known; use Install":     {"action": "install"},
		"quotation mark too many":       {"parameters": `A="x`},
		"line breaks":                   {"parameters": "A=1\nB=2"},
		"must not hold a quotation":     {"source": `https://h/a"b`},
		"neither a URL":                 {"source": "app.msi"},
		"all inputs must be strings":    {"parameters": []any{"A=1"}},
		"more than 8192 bytes":          {"parameters": strings.Repeat("A=1 ", 3000)},
		"is not a SHA-256":              {"sourceHash": "12"},
		"is another file, or a damaged": {"sourceHash": strings.Repeat("0", 64)},
	} {
		m := &machine{t: t}
		p := properties("Install", "")
		for name, value := range change {
			p[name] = value
		}
		o, _, stderr := m.run(t.Context(), clock.Real{}, p)
		if o.Status != doc.Failed || !strings.Contains(stderr, want) || m.line != "" {
			t.Errorf("%v: %+v %q, called %q", change, o, stderr, m.line)
		}
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	m := &machine{t: t, deep: strings.Repeat("d", 200)}
	if o, _, stderr := m.run(t.Context(), clock.Real{}, properties("Install", "")); o.Status != doc.Failed || !strings.Contains(stderr, "give the step a shorter name") || m.line != "" {
		t.Errorf("%+v %q", o, stderr)
	}
}

// TestInstalledIsWhatCannotBeTold: only a product that is known to be gone was
// uninstalled.
func TestInstalledIsWhatCannotBeTold(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	p := Plugin{
		ProductCode: func(string) (string, error) { return product, nil },
		Installed:   func() ([]software.Program, error) { return nil, broken },
	}
	if !p.installed("x") {
		t.Error("without a list")
	}
	p.ProductCode = func(string) (string, error) { return "", broken }
	if !p.installed("x") {
		t.Error("without a code")
	}
}

func FuzzInputs(f *testing.F) {
	f.Add("Install", `A="x y" B=2`, "https://h/a.msi")
	f.Add("Repair", `"`, `"`)
	f.Fuzz(func(t *testing.T, action, parameters, source string) {
		i := inputs{Action: action, Parameters: parameters, Source: source}
		option, err := i.check()
		if err != nil {
			return
		}
		line := Plugin{Program: "msiexec"}.commandLine(option, source, source, parameters)
		if strings.Count(line, `"`)%2 != 0 || strings.ContainsAny(line, "\x00\r\n") {
			t.Errorf("%q", line)
		}
	})
}
