package domainjoin

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

// TestArgumentsAsRecorded holds the arguments to the recorded table.
func TestArgumentsAsRecorded(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../wire/doc/testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Auxiliary struct {
			DomainJoinArguments struct {
				Cases []struct {
					Argv  []string
					Error bool
					Input any
				}
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Auxiliary.DomainJoinArguments.Cases) < 5 {
		t.Fatalf("%d cases, %v", len(v.Auxiliary.DomainJoinArguments.Cases), err)
	}
	for _, c := range v.Auxiliary.DomainJoinArguments.Cases {
		i, err := decode(c.Input)
		if err != nil {
			t.Fatal(err)
		}
		args, err := i.arguments("us-east-1")
		if (err != nil) != c.Error || !c.Error && !slices.Equal(args, c.Argv[1:]) {
			t.Errorf("%v: %q %v", c.Input, args, err)
		}
	}
	for _, bad := range []string{
		`{"directoryId":"d-1","directoryName":"a b"}`, `{"directoryId":"d-1","directoryName":"c","directoryOU":"$(x)"}`, `{"directoryId":"d-1","directoryName":"c","hostName":"sixteen-letters-x"}`,
		`{"directoryId":"d-1","directoryName":"c","hostName":"w","hostNameNumAppendDigits":"6"}`, `{"directoryId":"d-1","directoryName":"c","dnsIpAddresses":["::1"]}`,
		`{"directoryId":"d\n1","directoryName":"c"}`,
	} {
		var i inputs
		if err := json.Unmarshal([]byte(bad), &i); err != nil {
			t.Fatal(err)
		}
		if args, err := i.arguments("r"); err == nil {
			t.Errorf("%s: %q", bad, args)
		}
	}
}

// lab is a machine of scripts: every program that the script of ours runs to
// change something is a fake that notes its call, and /etc is a directory of
// the test. No directory service takes part.
type lab struct {
	Plugin

	t        *testing.T
	dir, etc string
}

func newLab(t *testing.T, fakes map[string]string) *lab {
	bin, etc := t.TempDir(), t.TempDir()
	log := filepath.Join(etc, "log")
	for name, body := range fakes {
		text := "#!/bin/sh\necho " + name + " \"$@\" >>" + log + "\n" + body + "\n"
		proctest.Plant(t, filepath.Join(bin, name), []byte(text))
	}
	text := string(script)
	for from, to := range map[string]string{
		"export PATH=": "export PATH=" + bin + ":", "/usr/local/bin/aws /usr/bin/aws": bin + "/aws", "/etc/": etc + "/",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the script has no %s", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return &lab{t: t, dir: t.TempDir(), etc: etc, Plugin: Plugin{Region: "us-east-1", Shell: "/bin/sh", Start: proc.Start, Clock: clock.Real{}, script: []byte(text)}}
}

func (l *lab) run(ctx context.Context, more map[string]any) (step.Outcome, string) {
	var out, errs bytes.Buffer
	properties := map[string]any{"directoryId": "d-1", "directoryName": "corp.example"}
	for k, v := range more {
		properties[k] = v
	}
	o := l.Run(ctx, step.Input{CommandDir: l.dir, StepDir: filepath.Join(l.dir, "s"), Stdout: &out, Stderr: &errs, Properties: properties})
	return o, out.String() + errs.String()
}

func (l *lab) file(name string) string {
	b, err := os.ReadFile(filepath.Join(l.etc, name))
	if err != nil {
		l.t.Error(err)
	}
	return string(b)
}

const describes = `case $2 in
describe-directories) echo '{"DirectoryDescriptions":[{"DnsIpAddrs":["10.0.0.1","10.0.0.2"]}]}' ;;
get-secret-value) echo '{"awsSeamlessDomainUsername":"joiner","awsSeamlessDomainPassword":"pass"}' ;;
esac`

func machine() map[string]string {
	return map[string]string{
		"realm": `case $1 in join) read -r p; echo "password $p" >>"$(dirname "$0")/given" ;; esac`, "apt-get": "", "aws": describes, "getent": "echo '192.0.2.1 STREAM x'",
		"resolvectl": "exit 1", "hostnamectl": "", "ldapsearch": `case $* in *WEB1*|*web1*) echo "dn: x" ;; esac`, "systemctl": "", "ip": "", "python3": `exec /usr/bin/python3 "$@"`, "sleep": "",
	}
}

func TestAlreadyJoined(t *testing.T) {
	t.Parallel()
	l := newLab(t, map[string]string{"realm": "printf 'corp.example\\n  type: kerberos\\n  domain-name: corp.example\\n'", "apt-get": "exit 1"})
	if o, said := l.run(t.Context(), nil); o.Status != doc.Success || said != "The machine is in corp.example already.\nDomain join succeeded." {
		t.Errorf("%+v %q", o, said)
	}
	if l.file("log") != "realm list\n" {
		t.Error(l.file("log"))
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
		t.Skip("the script reads JSON with python3, which is not here")
	}
	if os.Geteuid() != 0 {
		t.Skip("the script trusts programs of root's only, and so no fakes of ours")
	}
	l := newLab(t, machine())
	for name, text := range map[string]string{"ssh/sshd_config": "#PasswordAuthentication no\n", "nsswitch.conf": "passwd: files\ngroup: files\n", "samba/smb.conf": "[global]\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(l.etc, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(l.etc, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, said := l.run(t.Context(), map[string]any{"hostName": "web", "hostNameNumAppendDigits": "1", "directoryOU": `"OU=a b"`})
	if o.Status != doc.Success || !strings.HasSuffix(said, "Domain join succeeded.") || strings.Contains(said, "pass") {
		t.Fatalf("%+v %q\n%s", o, said, l.file("log"))
	}
	for _, want := range []string{"aws ds describe-directories --region us-east-1 --directory-ids d-1", "--secret-id aws/directory-services/d-1/seamless-domain-join",
		"hostnamectl set-hostname web2.corp.example", "realm join --client-software=winbind --computer-ou=OU=a b --user=joiner CORP.EXAMPLE"} {
		if !strings.Contains(l.file("log"), want) {
			t.Errorf("%s\nlacks %s", l.file("log"), want)
		}
	}
	for name, want := range map[string]string{"resolv.conf": "search corp.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n", "ssh/sshd_config": "PasswordAuthentication yes\n", "nsswitch.conf": "passwd: files winbind\ngroup: files winbind\n"} {
		if got := l.file(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if strings.Contains(l.file("log"), "pass\n") {
		t.Error("the password is on a command line")
	}
	fakes := machine()
	fakes["realm"] = "[ $1 = list ]"
	if o, said := newLab(t, fakes).run(t.Context(), map[string]any{"keepHostName": true, "dnsIpAddresses": []string{"192.0.2.1"}}); o.Status != doc.Failed || o.Code != 1 || said != "realm join failed\nDomain join failed." {
		t.Errorf("%+v %q", o, said)
	}
	fakes["aws"] = "exit 254"
	if o, said := newLab(t, fakes).run(t.Context(), nil); o.Status != doc.Failed || !strings.Contains(said, "give dnsIpAddresses") {
		t.Errorf("%+v %q", o, said)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.script = []byte("echo SuccessAndReboot\n")
	if o, said := l.run(t.Context(), nil); o.Status != doc.SuccessAndReboot || said != "SuccessAndReboot\n" {
		t.Errorf("%+v %q", o, said)
	}
	l.script = []byte("echo on; sleep 60\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(step.ErrCancelled) })
	if o, _ := l.run(ctx, nil); o.Status != doc.Cancelled {
		t.Errorf("%+v", o)
	}
	l.Clock = hasty{}
	if o, said := l.run(t.Context(), nil); o.Status != doc.TimedOut {
		t.Errorf("%+v %q", o, said)
	}
	if o, said := l.run(t.Context(), map[string]any{"directoryName": "a;b"}); o.Status != doc.Failed || !strings.Contains(said, "directoryName holds one of") {
		t.Errorf("%+v %q", o, said)
	}
	if o, _ := l.run(t.Context(), map[string]any{"dnsIpAddresses": "10.0.0.1"}); o.Reason != step.ReasonInput {
		t.Errorf("%+v", o)
	}
}

// hasty is a clock whose timers are fast.
type hasty struct{ clock.Real }

func (hasty) NewTimer(d time.Duration) clock.Timer { return clock.Real{}.NewTimer(d / 10_000) }
