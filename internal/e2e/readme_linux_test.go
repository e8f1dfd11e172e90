package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// readme is what a section of the README has between fences, from top to
// bottom.
func readme(t *testing.T, section string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n### "+section+"\n")
	if !found {
		t.Fatalf("the README has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	rest, _, _ = strings.Cut(rest, "\n### ")
	for _, g := range regexp.MustCompile("(?s)\n```[a-z]*\n(.*?)\n```\n").FindAllStringSubmatch(rest, -1) {
		blocks = append(blocks, g[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("section %q of the README has no commands", section)
	}
	return blocks
}

// imageSays are the words of an instruction of the README's Dockerfile, one
// element each time that it stands there.
func imageSays(t *testing.T, instruction string) (all [][]string) {
	t.Helper()
	for _, line := range strings.Split(readme(t, "Containers")[0], "\n") {
		rest, ours := strings.CutPrefix(line, instruction+" ")
		if !ours {
			continue
		}
		words := strings.Fields(rest)
		if strings.HasPrefix(rest, "[") {
			words = nil
			if err := json.Unmarshal([]byte(rest), &words); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		all = append(all, words)
	}
	if all == nil {
		t.Fatalf("the README's Dockerfile has no %s", instruction)
	}
	return all
}

// dockerRuns are the words of the README's `docker run` from the first of
// those that say how.
func dockerRuns(t *testing.T) []string {
	t.Helper()
	for _, line := range strings.Split(readme(t, "Containers")[1], "\n") {
		if rest, ours := strings.CutPrefix(line, "docker run -d --name node "); ours {
			return strings.Fields(strings.TrimSuffix(rest, " node"))
		}
	}
	t.Fatal("the README does not run a container")
	return nil
}

// TestPackageReadme follows the README's ways to install a package on a real
// systemd, line by line.
func TestPackageReadme(t *testing.T) {
	image, packages := os.Getenv("SSMAGENT_IMAGE"), os.Getenv("SSMAGENT_PACKAGES")
	if image == "" || packages == "" {
		unable(t, "packages and a root for a container: run make test-install")
	}
	for _, section := range []string{"Debian and Ubuntu", "RPM", "Without the internet"} {
		t.Run(section, func(t *testing.T) { // one after the other: they share the image
			f := &follower{t: t, m: boot(t, image, packages), last: time.Now()}
			f.line("cp /packages/old.deb amazon-ssm-agent.deb; cp /packages/old.rpm amazon-ssm-agent.rpm")
			if section == "Without the internet" {
				f.alone()
				return
			}
			p := newPlane(t)
			p.configure(f.m.root(), nil)
			f.code, f.id = p.activation(&ssm.CreateActivationInput{})
			f.follow(readme(t, section)[0])
			p.online(registeredID(t, f.m.root()))
		})
	}
}

// follower does what it reads.
type follower struct {
	t        *testing.T
	m        *machine
	id, code string // of an activation
	last     time.Time
}

// alone is the section that needs no plane but its own: the machine is both
// the control plane and a node.
func (f *follower) alone() {
	f.line("echo 127.0.0.1 ssm.lab.example >>/etc/hosts")
	blocks := readme(f.t, "Without the internet")
	f.follow(blocks[0])
	f.line("cp /var/lib/ssm-local/ca.pem .")
	f.follow(blocks[1])
	id := registeredID(f.t, f.m.root())
	eventually(f.t, "the node to be online", func() bool {
		out, code := f.m.try("ssm-local", "nodes")
		return code == 0 && strings.Contains(out, id) && strings.Contains(out, "Online")
	})
	if out, code := f.m.try("ssm-local", "run", id, "--", "echo", "from here"); code != 0 || !strings.Contains(out, "from here") {
		f.t.Errorf("exit %d, %s", code, out)
	}
}

// follow runs the lines of a block.
func (f *follower) follow(block string) {
	f.t.Helper()
	for _, line := range strings.Split(block, "\n") {
		out := f.line(strings.NewReplacer("ACTIVATION_ID", f.id, "ACTIVATION_CODE", f.code).Replace(line))
		if g := regexp.MustCompile(`-register -region us-east-1 -id (\S+) -code (\S+)`).FindStringSubmatch(out); g != nil {
			f.id, f.code = g[1], g[2]
		}
	}
}

// line runs one in /root. What asks a control plane is tried again: that was
// started by the line before.
func (f *follower) line(line string) (out string) {
	f.t.Helper()
	eventually(f.t, line, func() bool {
		var code int
		out, code = f.m.try("sh", "-ec", "cd /root; "+line)
		if code != 0 && !strings.HasPrefix(line, "ssm-local ") {
			f.t.Fatalf("%s: exit %d\n%s", line, code, out)
		}
		return code == 0
	})
	f.t.Logf("%6.2f s  %s", time.Since(f.last).Seconds(), line)
	f.last = time.Now()
	return out
}
