package proc

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestForgetArguments: the line is gone, what was read of it is not.
func TestForgetArguments(t *testing.T) {
	t.Parallel()
	const secret = "-test.run=TestForgetArguments/none"
	if os.Getenv("SSMAGENT_FORGETS") != "" {
		ForgetArguments()
		if line := windows.UTF16PtrToString(windows.GetCommandLine()); strings.TrimSpace(line) != "" || os.Args[1] != secret {
			t.Fatalf("line %q, arguments %q", line, os.Args)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, secret)
	child.Env = append(os.Environ(), "SSMAGENT_FORGETS=yes")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
