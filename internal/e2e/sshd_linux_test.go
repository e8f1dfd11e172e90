package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// sshd is a real sshd for one connection on standard input and output, so that
// there is no daemon.
type sshd struct {
	t      *testing.T
	dir    string
	server []string // its command line
	client []string // options of ssh for it, as the user that we are
}

// newSSHD prepares one in dir. Nothing on the machine changes: as root, sshd
// wants an account and a folder for its unprivileged part, and gets both in a
// mount namespace of its own.
func newSSHD(t *testing.T, dir, config string) *sshd {
	t.Helper()
	d := &sshd{t: t, dir: dir}
	path, libraries := findSSHD(t)
	for _, k := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, k)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	conf := writeFile(t, dir, "sshd_config", "HostKey "+dir+"/host\nAuthorizedKeysFile "+dir+"/user.pub\nUsePAM no\nStrictModes no\nPidFile none\n"+
		"PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitUserRC no\nPrintMotd no\nPrintLastLog no\n"+
		"Subsystem sftp internal-sftp\n"+config)
	log := filepath.Join(dir, "sshd.log")
	t.Cleanup(func() {
		if b, _ := os.ReadFile(log); t.Failed() {
			t.Logf("sshd said:\n%s", b)
		}
	})
	script := fmt.Sprintf("export LD_LIBRARY_PATH='%s'\nexec '%s' -i -f '%s' -E '%s'\n", libraries, path, conf, log)
	d.server = []string{"/bin/sh", dir + "/proxy"}
	if os.Getuid() == 0 {
		passwd, err := os.ReadFile("/etc/passwd")
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^sshd:`).Match(passwd) {
			passwd = append(passwd, "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"...)
		}
		writeFile(t, dir, "passwd", string(passwd))
		writeFile(t, dir, "shadow", "root:*:19000:0:99999:7:::\n") // a locked root may not log in
		script = "set -e\ncd " + dir + "\nchmod 644 passwd\nmount --bind passwd /etc/passwd\nmount --bind shadow /etc/shadow\n" +
			"mount -t tmpfs -o mode=755 tmpfs /run\nmkdir -m 755 /run/sshd\n" + script
		d.server = append([]string{"/usr/bin/unshare", "-m", "--propagation", "private"}, d.server...)
	}
	writeFile(t, dir, "proxy", script)
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d.client = []string{"-F", "/dev/null", "-i", dir + "/user", "-o", "User=" + who.Username,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"}
	return d
}

// writeFile makes a file that only we may read.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listen has one sshd for every connection to the port that it returns.
func (d *sshd) listen() string {
	d.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	var wg sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			d.t.Error(err)
			return
		}
		defer f.Close()
		cmd := exec.Command(d.server[0], d.server[1:]...)
		cmd.Stdin, cmd.Stdout = f, f
		_ = cmd.Run() // its code is that of the connection
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	d.t.Cleanup(func() { l.Close(); wg.Wait() })
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// findSSHD finds the machine's sshd, or the one that scripts/need.sh unpacked,
// and the folders with the libraries that came with that.
func findSSHD(t *testing.T) (path, libraries string) {
	t.Helper()
	if path, err := exec.LookPath("/usr/sbin/sshd"); err == nil {
		return path, ""
	}
	tools, err := filepath.Abs("../../build/tools/debian")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(tools, "usr", "sbin", "sshd")
	if _, err := os.Stat(path); err != nil {
		t.Fatal("needs sshd: run `make test`, which unpacks it into build/tools, or scripts/need.sh sshd")
	}
	dirs, _ := filepath.Glob(filepath.Join(tools, "usr", "lib", "*-linux-*"))
	more, _ := filepath.Glob(filepath.Join(tools, "lib", "*-linux-*"))
	return path, strings.Join(append(dirs, more...), ":")
}
