package arch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// module is this project's drawing; ARCHITECTURE.md explains it.
func module() Rules {
	seams := []string{"ssmagent/platform", "ssmagent/shell", "ssmagent/users", "ssmagent/fingerprint", "ssmagent/service", "ssmagent/installer"}
	sdk := "github.com/aws/aws-sdk-go-v2/"
	heavy := []string{sdk + "config", sdk + "credentials", sdk + "feature", sdk + "service"}
	return Rules{
		Module: "ssmagent",
		Core:   "internal", Drivers: []string{"internal/e2e"},
		Layers: [][]string{
			{"internal/secret", "platform/job", "platform/profile"},
			// 0: words, and seams that need nothing of ours
			{"internal/wire/frame", "internal/wire/mgs", "internal/wire/mds", "internal/wire/ssm", "internal/wire/doc",
				"internal/clock", "internal/fsys", "internal/sigv4", "platform", "platform/proc", "platform/ipc", "platform/quickio", "platform/reboot", "platform/watch", "platform/network",
				"service", "fingerprint", "platform/tty", "internal/arch", "internal/environ", "internal/words", "internal/mux", "internal/session/destination",
				"internal/seal", "internal/signature",
				"internal/logbook", "platform/journal",
				"internal/wire/s3", "internal/wire/logs", "internal/wire/manifest", "internal/archive", "platform/distro", "platform/software", "platform/proxy", "platform/dpapi", "platform/firstboot"},
			// 1: pure logic over the words, and the seams above a seam
			{"internal/backoff", "internal/stream", "internal/step", "internal/fsys/fsystest", "platform/secfile", "shell",
				"internal/config", "internal/socket", "internal/imds", "internal/controlplane/store", "internal/transfer", "internal/paramstore", "platform/proc/proctest",
				"internal/wire/kms",
				"internal/record/asciicast",
				"internal/session/port", "internal/edition"},
			{"users"},
			// 2: state and calls
			{"internal/link", "internal/vault", "internal/outbox", "internal/ssmclient", "internal/engine", "internal/step/runscript",
				"internal/controlplane/api", "internal/controlplane/pki", "shell/shelltest", "users/userstest",
				"internal/record/recording", "internal/record/audit",
				"internal/session/terminal", "internal/credentials",
				"internal/step/tool", "internal/step/artifact"},
			{"internal/upload", "internal/sharing", "internal/depot"},
			// 3: doing
			{"internal/identity", "internal/health", "internal/control", "internal/job", "internal/session", "internal/session/channel",
				"internal/admin", "internal/guard",
				"internal/controlplane/auth", "internal/controlplane/nodes", "internal/controlplane/documents",
				"internal/controlplane/kms", "internal/controlplane/parameters", "internal/datakey",
				"internal/controlplane/logs", "internal/session/transcript",
				"internal/step/content", "internal/step/rundocument", "internal/step/domainjoin", "internal/step/docker", "internal/step/packages",
				"internal/step/applications", "internal/step/psmodule", "internal/step/cloudwatch"},
			// 4: flows
			{"internal/diagnostics", "internal/worker", "internal/session/worker", "internal/command", "internal/predecessor", "internal/offline", "internal/localapi", "internal/session", "internal/controlplane/commands",
				"internal/services", "internal/setup",
				"internal/controlplane/sessions", "internal/client", "internal/controlplane/s3", "internal/operator"},
			// 5: the rims
			{"internal/agent", "internal/controlplane/gateway",
				"internal/controlplane/relay", "internal/client/clienttest", "internal/client/forward"},
			{"internal/controlplane", "internal/agenttest"},
			// 7: the programs
			{"cmd/internal/connect"},
			{"cmd/internal/program", "cmd/internal/bench", "cmd/internal/wineshim", "internal/e2e"},
			{"cmd/..."},
		},
		Forbidden: map[string][]string{
			// The control plane never sees the agent nor a seam.
			"internal/controlplane/...": append(seams, "ssmagent/internal/agent", "ssmagent/internal/control", "ssmagent/internal/command",
				"ssmagent/internal/job", "ssmagent/internal/worker", "ssmagent/internal/engine", "ssmagent/internal/identity", "ssmagent/internal/vault"),
			// The words are plain data: no sockets, no files.
			"internal/wire/...": {"net/http", "os", "github.com/coder/websocket"},
			"internal/stream":   {"net", "os"},
			// The core asks the system through seams only.
			"internal/...": append(slices.Clone(heavy), "golang.org/x/sys", "github.com/kardianos/service", "github.com/creack/pty", "github.com/UserExistsError/conpty", "os/exec"),
			// What is linked costs every worker's start.
			"cmd/...": heavy,
			// The host knows neither core nor seams.
			"service": {"ssmagent"},
		},
	}
}

func TestModule(t *testing.T) {
	t.Parallel()
	faults, err := Check("../..", module())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// TestPlanted proves that each kind of breach is found, and nothing else.
func TestPlanted(t *testing.T) {
	t.Parallel()
	rules := Rules{
		Module: "m", Core: "internal", Drivers: []string{"internal/drive"},
		Layers:    [][]string{{"internal/low", "internal/side", "internal/drive"}, {"internal/high"}, {"cmd/..."}},
		Forbidden: map[string][]string{"internal/...": {"os/exec"}},
	}
	const ok = "// Package p is documented.\npackage p\n"
	for _, tc := range []struct{ name, file, text, kind string }{
		{"clean", "internal/high/a.go", ok + "import _ \"m/internal/low\"\n", ""},
		{"upward", "internal/low/a.go", ok + "import _ \"m/internal/high\"\n", "layer"},
		{"sideways", "internal/low/a.go", ok + "import _ \"m/internal/side\"\n", "layer"},
		{"forbidden", "internal/low/a.go", ok + "import _ \"os/exec\"\n", "forbidden"},
		{"unlisted", "internal/new/a.go", ok, "unlisted"},
		{"comment", "internal/low/a.go", "package p\n", "comment"},
		{"os file", "internal/low/a_windows.go", ok, "os-file"},
		{"os file of macOS", "internal/low/a_darwin.go", ok, "os-file"},
		{"unix file", "internal/low/a_unix.go", ok, "os-file"},
		{"build constraint", "internal/low/a.go", "//go:build !darwin\n\n" + ok, "os-file"},
		{"build constraint in a seam", "cmd/x/a_unix.go", "//go:build unix\n\n" + ok, ""},
		{"no build constraint", "internal/low/a.go", ok + "\n//go:build in words\n", ""},
		{"os test file", "internal/low/a_linux_test.go", ok, "os-file"},
		{"os test file of a driver", "internal/drive/a_linux_test.go", "// Package p is documented.\npackage p\n", ""},
		{"os file of a driver", "internal/drive/a_linux.go", ok, "os-file"},
		{"os file in cmd", "cmd/x/a_windows.go", ok, ""},
		{"goos", "internal/low/a.go", ok + "import \"runtime\"\nvar _ = runtime.GOOS\n", "goos"},
		{"sleep", "cmd/x/a_test.go", ok + "import \"time\"\nfunc f() { time.Sleep(1) }\n", "sleep"},
		{"init", "cmd/x/a.go", ok + "func init() {}\n", "init"},
		{"regexp", "cmd/x/a.go", ok + "import \"regexp\"\nvar (\n\tr = regexp.MustCompile(`x`)\n)\n", "regexp"},
		{"regexp for later", "cmd/x/a.go", ok + "import \"regexp\"\nvar r = func() *regexp.Regexp { return regexp.MustCompile(`x`) }\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			name := filepath.Join(root, filepath.FromSlash(tc.file))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			faults, err := Check(root, rules)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tc.kind == "" && len(faults) > 0:
				t.Errorf("clean file has faults: %v", faults)
			case tc.kind != "" && (len(faults) != 1 || faults[0].Kind != tc.kind):
				t.Errorf("want one fault %q, got %v", tc.kind, faults)
			}
		})
	}
}
