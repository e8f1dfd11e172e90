package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// serviced is a Windows machine with the agent as a service, at the system's own
// places.
type serviced struct {
	wine
	t *testing.T
}

const (
	agentFile = `C:\Program Files\Amazon\SSM\amazon-ssm-agent.exe`
	logFile   = `C:\ProgramData\Amazon\SSM\Logs\amazon-ssm-agent.log`
	imageKey  = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State`
)

func newServiced(t *testing.T) serviced {
	t.Helper()
	s := serviced{newWine(t), t}
	// Wine tells services another place for data than everybody else.
	link := s.path(`C:\users\Public\Amazon`)
	if err := os.Symlink(s.path(`C:\ProgramData\Amazon`), link); err != nil {
		t.Fatal(err)
	}
	s.build(agentFile, "")
	t.Cleanup(func() {
		if b, err := os.ReadFile(s.path(logFile)); t.Failed() {
			t.Logf("the service's log (%v):\n%s", err, b)
		}
		s.agent("service", "uninstall")
		for _, name := range []string{`C:\Program Files\Amazon`, `C:\ProgramData\Amazon`, `C:\users\Public\Amazon`} {
			if err := os.RemoveAll(s.path(name)); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// build puts the agent's program into the machine; what is behind its end makes it
// another one.
func (s serviced) build(name, behind string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("SSMAGENT_WINDOWS"), "amazon-ssm-agent.exe"))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path(name)), 0o700)
	}
	if err == nil {
		err = os.WriteFile(s.path(name), append(b, behind...), 0o700)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// agent runs the agent's program, which has to succeed.
func (s serviced) agent(words ...string) string {
	s.t.Helper()
	return s.succeeds(s.t, append([]string{agentFile}, words...)...)
}

// ended waits until the service has stopped, and says with which code of its own.
func (s serviced) ended() string {
	s.t.Helper()
	var out string
	eventually(s.t, "the service to end", func() bool {
		out = s.succeeds(s.t, "sc", "query", "AmazonSSMAgent")
		return strings.Contains(out, "STOPPED")
	})
	m := regexp.MustCompile(`SERVICE_EXIT_CODE +: (\d+)`).FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("sc said\n%s", out)
	}
	return m[1]
}

// image sets the state of the machine's image.
func (s serviced) image(kind, state string) {
	s.t.Helper()
	s.succeeds(s.t, "reg", "add", imageKey, "/v", "ImageState", "/t", kind, "/d", state, "/f")
}

// logged waits until the log says text n times.
func (s serviced) logged(n int, text string) {
	s.t.Helper()
	eventually(s.t, "the log to say "+text, func() bool {
		b, err := os.ReadFile(s.path(logFile))
		return err == nil && strings.Count(string(b), text) >= n
	})
}

// editions are the copies that workers run from.
func (s serviced) editions() []string {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(s.path(agentFile)), "Editions", "*", "amazon-ssm-agent.exe"))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestWineServiceStages: what the service manager is told of a start that comes to
// nothing, and that the machine's first set-up is waited for. It runs alone, as wine
// lets any program be the service that is just starting.
func TestWineServiceStages(t *testing.T) {
	s := newServiced(t)
	if out, err := s.command(t, agentFile, "service", "configure"); err == nil || !strings.Contains(out, "not installed") {
		t.Errorf("configured without a service: %v, %s", err, out)
	}
	s.agent("service", "install")
	s.image("REG_SZ", "IMAGE_STATE_UNDEPLOYABLE")
	const waits = "waiting for the end of this machine's first set-up"
	s.agent("start")
	s.logged(1, waits)
	if out := s.agent("status"); !strings.Contains(out, "running") {
		t.Errorf("while it waits it is %s", out)
	}
	s.agent("stop")
	if code := s.ended(); code != "0" {
		t.Errorf("stopped while it waits: code %s", code)
	}
	s.agent("start")
	s.logged(2, waits)
	s.image("REG_SZ", "IMAGE_STATE_COMPLETE")
	s.logged(1, "waits for the registration of this machine")
	s.agent("stop")
	if code := s.ended(); code != "0" {
		t.Errorf("stopped while it is not registered: code %s", code)
	}
	s.image("REG_DWORD", "1")
	s.agent("start")
	if code := s.ended(); code != "1" {
		t.Errorf("no readable state: code %s", code)
	}
	s.succeeds(t, "reg", "delete", imageKey, "/f")
	if err := os.WriteFile(s.path(configFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.agent("start")
	if code := s.ended(); code != "3" {
		t.Errorf("a configuration that is none: code %s", code)
	}
}

// TestWineServiceUpgrade: a command goes on while the service stops, while its
// program is replaced, and while the next one starts, which takes it over. It runs
// alone, too.
func TestWineServiceUpgrade(t *testing.T) {
	s := newServiced(t)
	p := newPlane(t)
	s.agent("service", "install")
	p.configureAt(filepath.Dir(s.path(configFile)), nil)
	code, activation := p.activation(&ssm.CreateActivationInput{})
	s.agent("-register", "-code", code, "-id", activation, "-region", "us-east-1", "-y")
	id := nodeID(t, filepath.Dir(filepath.Dir(s.path(logFile))))
	s.agent("start")
	p.online(id)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := p.sdk().SendCommand(t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunPowerShellScript"),
		InstanceIds: []string{id}, Parameters: map[string][]string{"commands": {"await " + l.Addr().String(), "exit 0"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	script, err := l.Accept()
	if err != nil {
		t.Fatalf("the script does not run: %v", err)
	}
	defer script.Close()
	s.agent("stop")
	old := s.editions()
	if len(old) != 1 {
		t.Fatalf("workers run from %v", old)
	}
	if code := s.ended(); code != "0" {
		t.Errorf("code %s", code)
	}
	s.build(`C:\next.exe`, "another build")
	s.succeeds(t, "cmd", "/c", "copy", "/y", `C:\next.exe`, agentFile)
	s.agent("service", "configure") // as an installer does
	s.agent("start")
	p.online(id)
	eventually(t, "the next one's workers to have a program, and the old one to stay", func() bool { return len(s.editions()) == 2 })
	script.Close()
	if inv := p.invocation(*out.Command.CommandId, id); inv.Status != types.CommandInvocationStatusSuccess {
		t.Errorf("%s: %s", inv.Status, *inv.StandardErrorContent)
	}
	eventually(t, "the worker to end", func() bool { return len(processes("ssm-document-worker")) == 0 })
	s.agent("restart")
	eventually(t, "the old one to go", func() bool { now := s.editions(); return len(now) == 1 && now[0] != old[0] })
	p.online(id)
	s.agent("service", "uninstall")
	s.agent("service", "uninstall")
	for _, key := range []string{serviceKey, sourceKey} {
		if out, err := s.command(t, "reg", "query", key); err == nil {
			t.Errorf("left is %s", out)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(s.path(agentFile)), "Editions")); !os.IsNotExist(err) {
		t.Errorf("copies of the program are left: %v", err)
	}
}
