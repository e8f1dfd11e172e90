package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// unable ends a test for which this machine lacks something: skipped where
// somebody works, failed where all has to be run.
func unable(t *testing.T, lacks string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("needs " + lacks)
	}
	t.Skip("needs " + lacks)
}

// withoutGateway has a plane whose nodes can only poll.
const withoutGateway = "-gateway=false"

// online waits until the plane says that the node is.
func (p *plane) online(id string) {
	p.t.Helper()
	c := p.sdk()
	eventually(p.t, id+" to be online", func() bool {
		out, err := c.DescribeInstanceInformation(p.t.Context(), &ssm.DescribeInstanceInformationInput{
			Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{id}}}})
		return err == nil && len(out.InstanceInformationList) == 1 && out.InstanceInformationList[0].PingStatus == types.PingStatusOnline
	})
	if !slices.Contains(p.args, withoutGateway) { // where a session finds it, too
		p.connected(&node{id: id}, types.ConnectionStatusConnected)
	}
}

// send sends a shell script to a node and returns the command id.
func (p *plane) send(id string, script ...string) string {
	p.t.Helper()
	out, err := p.sdk().SendCommand(p.t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunShellScript"),
		InstanceIds: []string{id}, Parameters: map[string][]string{"commands": script}})
	if err != nil {
		p.t.Fatal(err)
	}
	return *out.Command.CommandId
}

// invocation waits until the command is over on the node.
func (p *plane) invocation(command, id string) *ssm.GetCommandInvocationOutput {
	p.t.Helper()
	c := p.sdk()
	var out *ssm.GetCommandInvocationOutput
	eventually(p.t, "command "+command+" to end", func() bool {
		var err error
		out, err = c.GetCommandInvocation(p.t.Context(), &ssm.GetCommandInvocationInput{CommandId: &command, InstanceId: &id})
		if err != nil {
			return false // the plane may be down at this moment
		}
		switch out.Status {
		case types.CommandInvocationStatusPending, types.CommandInvocationStatusInProgress, types.CommandInvocationStatusDelayed, types.CommandInvocationStatusCancelling:
			return false
		}
		return true
	})
	return out
}

// file waits until the file holds at least lines whole lines and returns them.
func (p *plane) file(name string, lines int) []string {
	p.t.Helper()
	var got []string
	eventually(p.t, name, func() bool {
		b, err := os.ReadFile(name)
		if err != nil {
			return false
		}
		got = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		return strings.HasSuffix(string(b), "\n") && len(got) >= lines
	})
	return got
}

// alive says whether the process runs (a zombie does not).
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	return !strings.HasPrefix(strings.TrimSpace(rest), "Z")
}

// processes lists the processes whose command line or environment names root.
func processes(root string) []int {
	all, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, dir := range all {
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if pid, _ := strconv.Atoi(filepath.Base(dir)); strings.Contains(string(cmd), root) && alive(filepath.Base(dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// workersOf lists the document workers of the agent at root.
func workersOf(root string) []int {
	var pids []int
	for _, pid := range processes(root) {
		if b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); strings.HasPrefix(string(b), "ssm-document-worker") {
			pids = append(pids, pid)
		}
	}
	return pids
}
