package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// sshServer is a real sshd, one process for each connection to a port.
type sshServer struct {
	dir      string
	listener net.Listener
	argv     []string
	client   []string // options of ssh
}

// sshdPath finds the machine's sshd or the one that scripts/need.sh unpacked.
func sshdPath() (path, libraries string, err error) {
	const installed = "/usr/sbin/sshd"
	if _, err := os.Stat(installed); err == nil {
		return installed, "", nil
	}
	tools, err := filepath.Abs("build/tools/debian")
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(tools, "usr", "sbin", "sshd")
	if _, err := os.Stat(path); err != nil {
		return "", "", err
	}
	dirs, _ := filepath.Glob(filepath.Join(tools, "usr", "lib", "*-linux-*"))
	more, _ := filepath.Glob(filepath.Join(tools, "lib", "*-linux-*"))
	return path, strings.Join(append(dirs, more...), ":"), nil
}

// newSSHServer starts one below root. As root, sshd wants an account and a
// folder of its own, which it gets in a mount namespace.
func newSSHServer(root string) (*sshServer, error) {
	path, libraries, err := sshdPath()
	if err != nil {
		return nil, err
	}
	s := &sshServer{dir: filepath.Join(root, "sshd"), argv: []string{"/bin/sh"}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	for _, k := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, k)).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	files := map[string]string{"sshd_config": "HostKey " + s.dir + "/host\nAuthorizedKeysFile " + s.dir + "/user.pub\nUsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\n"}
	script := fmt.Sprintf("export LD_LIBRARY_PATH='%s'\nexec '%s' -i -f '%s/sshd_config' -E '%s/log'\n", libraries, path, s.dir, s.dir)
	if os.Getuid() == 0 {
		passwd, err := os.ReadFile("/etc/passwd")
		if err != nil {
			return nil, err
		}
		if !regexp.MustCompile(`(?m)^sshd:`).Match(passwd) {
			passwd = append(passwd, "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"...)
		}
		files["passwd"], files["shadow"] = string(passwd), "root:*:19000:0:99999:7:::\n"
		script = "set -e\ncd " + s.dir + "\nchmod 644 passwd\nmount --bind passwd /etc/passwd\nmount --bind shadow /etc/shadow\n" +
			"mount -t tmpfs -o mode=755 tmpfs /run\nmkdir -m 755 /run/sshd\n" + script
		s.argv = []string{"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh"}
	}
	files["serve"] = script
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	s.argv = append(s.argv, filepath.Join(s.dir, "serve"))
	s.client = []string{"-F", "/dev/null", "-i", filepath.Join(s.dir, "user"), "-l", who.Username, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ExitOnForwardFailure=yes"}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go s.serve()
	return s, nil
}

func (s *sshServer) close() { _ = s.listener.Close() }

func (s *sshServer) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		t, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			continue
		}
		f, err := t.File()
		_ = c.Close()
		if err != nil {
			continue
		}
		cmd := exec.Command(s.argv[0], s.argv[1:]...)
		cmd.Stdin, cmd.Stdout = f, f
		go func() { defer f.Close(); _ = cmd.Run() }()
	}
}

// forward runs ssh -L to a port and returns where that is reached.
func (s *sshServer) forward(port string) (addr string, stop func(), err error) {
	socket := filepath.Join(s.dir, "listens")
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	_ = l.Close()
	_, sshPort, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "", nil, err
	}
	// The control socket appears when the forward listens.
	cmd := exec.Command("ssh", append(s.client, "-N", "-M", "-S", socket, "-L", addr+":127.0.0.1:"+port, "-p", sshPort, "127.0.0.1")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr, stop, nil
		}
		<-time.After(10 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("ssh -L to port %s never listened", port)
}
