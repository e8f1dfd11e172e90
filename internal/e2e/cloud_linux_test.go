package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestInstanceOfEC2: an instance without an instance profile, under default
// host management: it finds out who it is, registers itself with its own
// identity, is online and runs a command, without any activation.
func TestInstanceOfEC2(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	const id = "i-0123456789abcdef0"
	p := newPlane(t)
	keys, err := p.sdk().Options().Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, err := json.Marshal(map[string]string{"Code": "Success", "AccessKeyId": keys.AccessKeyID, "SecretAccessKey": keys.SecretAccessKey, "Token": keys.SessionToken, "Expiration": "2099-01-01T00:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]string{
		"meta-data/instance-id":                                                id,
		"dynamic/instance-identity/document":                                   `{"region":"us-east-1"}`,
		"meta-data/placement/availability-zone":                                "us-east-1a",
		"meta-data/placement/availability-zone-id":                             "use1-az1",
		"meta-data/identity-credentials/ec2/security-credentials/ec2-instance": string(host),
	}
	site(t, "169.254.169.254", func(w http.ResponseWriter, r *http.Request) {
		text, ok := documents[strings.TrimPrefix(r.URL.Path, "/latest/")]
		switch {
		case r.Method == http.MethodPut:
			text = "tok"
		case r.Header.Get("X-aws-ec2-metadata-token") != "tok":
			w.WriteHeader(http.StatusUnauthorized)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, text)
	})
	n := &node{t: t, id: id, root: t.TempDir()}
	n.endAll()
	p.configure(n.root, nil)
	n.program = startAs(t, exec.Command("env", "AWS_EC2_METADATA_DISABLED=false", filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	p.online(id)
	found, err := p.sdk().DescribeInstanceInformation(t.Context(), &ssm.DescribeInstanceInformationInput{
		Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: []string{id}}}})
	if err != nil || len(found.InstanceInformationList) != 1 || found.InstanceInformationList[0].ResourceType != types.ResourceTypeEc2Instance {
		t.Errorf("%+v, %v", found, err)
	}
	if out := p.invocation(p.send(id, "echo here"), id); *out.StandardOutputContent != "here\n" {
		t.Errorf("%+v", out)
	}
	file := filepath.Join(n.root, "var/lib/amazon/ssm/credentials")
	eventually(t, file, func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(b), "[default]\naws_access_key_id = ASIA")
	})
	if won, _, stderr, x, code := explainIn(t, n.root, nil); won != "" || code != 255 || x.Identity != id+" in us-east-1, by EC2" || !strings.Contains(stderr, "default host management") {
		t.Errorf("exit %d, %q, %+v\n%s", code, won, x, stderr)
	}
	// Once the instance has a profile, the file of host management goes.
	n.kill()
	documents["meta-data/iam/security-credentials/"], documents["meta-data/iam/security-credentials/lab"] = "lab", string(host)
	n.program = startAs(t, exec.Command("env", "AWS_EC2_METADATA_DISABLED=false", filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("removed the credentials of default host management")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%s: %v", file, err)
	}
}

// TestMetadataThatMisleads: each is a sentence with what to do, and nobody
// becomes a node of it.
func TestMetadataThatMisleads(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	root := custom(t)
	for address, tc := range map[string]struct {
		serve http.HandlerFunc
		says  string
	}{
		"127.0.1.1": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in</html>") }, "does a captive portal or proxy answer in its place?"},
		"127.0.1.2": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "HTTP 401"},
		"127.0.1.3": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.1.1/", http.StatusFound)
		}, "HTTP 302"},
		"127.0.1.4": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "--http-put-response-hop-limit 2"},
	} {
		site(t, address, tc.serve)
		won, _, stderr, _, code := explainIn(t, root, map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + address})
		if won != "" || code != 255 || !strings.Contains(stderr, tc.says) || strings.Contains(stderr, "goroutine") {
			t.Errorf("%s: exit %d, %q, want %q\n%s", address, code, won, tc.says, stderr)
		}
	}
}
