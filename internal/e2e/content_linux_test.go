package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// outcome is a step as operators see it.
type outcome struct {
	Name, Status, Output string
	ResponseCode         int
}

// command sends a document by the stock CLI, waits for its end and returns
// what became of its steps.
func (p *plane) command(n *node, document string, parameters map[string]any) []outcome {
	p.t.Helper()
	return p.steps(p.order(n, document, parameters))
}

// order sends a document by the stock CLI and returns the command's id.
func (p *plane) order(n *node, document string, parameters map[string]any) string {
	p.t.Helper()
	if parameters == nil {
		parameters = map[string]any{}
	}
	b, err := json.Marshal(parameters)
	if err != nil {
		p.t.Fatal(err)
	}
	var sent struct{ Command struct{ CommandId string } }
	p.awsJSON(&sent, "ssm", "send-command", "--document-name", document, "--instance-ids", n.id, "--parameters", string(b))
	return sent.Command.CommandId
}

// steps waits for the end of a command and returns what became of its steps.
func (p *plane) steps(id string) []outcome {
	p.t.Helper()
	c := p.sdk() // the CLI takes long to start
	var steps []outcome
	eventually(p.t, "command "+id+" to end", func() bool {
		out, err := c.ListCommandInvocations(p.t.Context(), &ssm.ListCommandInvocationsInput{CommandId: &id, Details: true})
		if err != nil || len(out.CommandInvocations) != 1 || !slices.Contains([]types.CommandInvocationStatus{"Success", "Failed", "TimedOut", "Cancelled"}, out.CommandInvocations[0].Status) {
			return false
		}
		steps = nil
		for _, s := range out.CommandInvocations[0].CommandPlugins {
			steps = append(steps, outcome{aws.ToString(s.Name), string(s.Status), aws.ToString(s.Output), int(s.ResponseCode)})
		}
		return true
	})
	return steps
}

// document creates a command document by the stock CLI.
func (p *plane) document(name string, content map[string]any) {
	p.t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.TempDir(), "document.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.awsJSON(nil, "ssm", "create-document", "--name", name, "--document-type", "Command", "--content", "file://"+file)
}

func object(members ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		m[members[i].(string)] = members[i+1]
	}
	return m
}

func text(v any) string {
	b, _ := json.Marshal(v) //nolint:errchkjson // maps of text
	return string(b)
}

// fetcher downloads and lists what came, with modes.
func (p *plane) fetcher() {
	p.document("Fetch", object("schemaVersion", "2.2", "description", "downloads and lists",
		"parameters", object("kind", object("type", "String"), "info", object("type", "StringMap"), "to", object("type", "String", "default", "")),
		"mainSteps", []any{
			object("action", "aws:downloadContent", "name", "fetch", "inputs", object("sourceType", "{{ kind }}", "sourceInfo", "{{ info }}", "destinationPath", "{{ to }}", "onFailure", "exit")),
			object("action", "aws:runShellScript", "name", "look", "inputs", object("runCommand", []string{
				`find . -name .git -prune -o -type f -print | sort | while read -r f; do echo "$f $(stat -c %a "$f") $(head -c 20 "$f")"; done`})),
		}))
}

func commit(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", name}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
}

// gitServer serves a repository by HTTP to whoever knows the password.
func gitServer(t *testing.T) (url, dir string) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "lab")
	if out, err := exec.Command("git", "init", "-q", "-b", "master", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	commit(t, dir, "one.sh", "echo one")
	if out, err := exec.Command("git", "-C", dir, "branch", "old").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	commit(t, dir, "two.sh", "echo two")
	core, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"), Dir: base,
		Env: []string{"GIT_PROJECT_ROOT=" + base, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=ada", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); !ok || name != "ada" || password != "pass'word" {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/lab/.git", dir
}

// TestDownloadContent: the stock CLI orders, the node fetches with its own
// credentials from the object store, from a web server and from Git.
func TestDownloadContent(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.fetcher()
	p.awsJSON(nil, "s3api", "create-bucket", "--bucket", "lab")
	for key, content := range map[string]string{"dir/a.sh": "echo a", "dir/sub/b c+d.txt": "b", "dir/sub/": "", "single": "alone", "evil/../../out": "no"} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p.awsJSON(nil, "s3api", "put-object", "--bucket", "lab", "--key", key, "--body", file)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); ok && name == "ada" && password == "lovelace" {
			fmt.Fprint(w, "from the web")
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(web.Close)
	repository, git := gitServer(t)
	const s3 = "https://s3.us-east-1.amazonaws.com/lab/"
	for _, tc := range []struct {
		name, kind, to string
		info           map[string]any
		want           []string // of the listing; one that begins with ! of the failure
	}{
		{"S3 directory", "S3", "", object("path", s3+"dir"), []string{"./a.sh 700 echo a", "./sub/b c+d.txt 700 b"}},
		{"S3 object, virtual", "S3", "", object("path", "https://lab.s3.us-east-1.amazonaws.com/dir/sub/b+c%2Bd.txt"), []string{"./b c+d.txt 700 b"}},
		{"S3 object, renamed", "S3", "x/y", object("path", p.url+"/lab/single"), []string{"./x/y 700 alone"}},
		{"S3, a key that leads out", "S3", "", object("path", s3+"evil/"), []string{"!would not lie below"}},
		{"S3, no such object", "S3", "", object("path", s3+"nothing"), []string{"!NoSuchKey"}},
		{"a destination that leads out", "S3", "../../x", object("path", s3+"single"), []string{"!leads out of the command's directory"}},
		{"HTTP", "HTTP", "page", object("url", web.URL+"/x", "allowInsecureDownload", true, "authMethod", "Basic", "username", "ada", "password", "lovelace"), []string{"./page 700 from the web"}},
		{"HTTP, refused", "HTTP", "page", object("url", web.URL+"/x", "allowInsecureDownload", true), []string{"!403"}},
		{"HTTP, plain", "HTTP", "page", object("url", web.URL+"/x"), []string{"!allowInsecureDownload"}},
		{"Git", "Git", "", object("repository", repository, "username", "ada", "password", "pass'word"), []string{"./one.sh 700 echo one", "./two.sh 700 echo two"}},
		{"Git, branch", "Git", "tree", object("repository", repository, "username", "ada", "password", "pass'word", "getOptions", "branch:old"), []string{"./tree/one.sh 700 echo one"}},
		{"Git, wrong password", "Git", "", object("repository", repository, "username", "ada", "password", "guess-4711"), []string{"!Authentication failed"}},
		{"Git, file", "Git", "", object("repository", "file://"+git, "getOptions", "branch:refs/heads/old"), []string{"./one.sh 700 echo one"}},
		{"document", "SSMDocument", "", object("name", "AWS-RunShellScript:1"), []string{`./AWS-RunShellScript.json 700 {`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			steps := p.command(n, "Fetch", object("kind", []string{tc.kind}, "info", []string{text(tc.info)}, "to", []string{tc.to}))
			if len(steps) != 2 {
				t.Fatalf("%+v", steps)
			}
			if why, fails := strings.CutPrefix(tc.want[0], "!"); fails {
				if steps[0].Status != "Failed" || steps[0].ResponseCode != 1 || !strings.Contains(steps[0].Output, why) || strings.Contains(steps[0].Output, "guess-4711") {
					t.Errorf("%+v", steps[0])
				}
				return
			}
			if steps[0].Status != "Success" || !strings.HasPrefix(steps[0].Output, "Content downloaded to "+n.root) {
				t.Errorf("%+v", steps[0])
			}
			if got := strings.TrimSpace(steps[1].Output); tc.kind != "SSMDocument" && got != strings.Join(tc.want, "\n") || !strings.HasPrefix(got, tc.want[0]) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestRunDocument: documents in documents, from Systems Manager and from the
// object store, their results, and those that would not end.
func TestRunDocument(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	nest := func(name, inner string, parameters map[string]any) {
		p.document(name, object("schemaVersion", "2.2", "mainSteps", []any{
			object("action", "aws:runDocument", "name", "inner", "inputs", object("documentType", "SSMDocument", "documentPath", inner, "documentParameters", parameters))}))
	}
	say := object("commands", []string{"echo deep; echo err >&2; exit 3"})
	nest("One", "AWS-RunShellScript", say)
	nest("Two", "One", nil)
	nest("Three", "Two", nil)
	nest("Four", "Three", nil)
	nest("Ring", "Ring", nil)
	for _, tc := range []struct{ name, status, want string }{
		{"One", "Failed", "deep\n\n----------ERROR-------\nerr\nfailed to run commands: exit status 3"},
		{"Three", "Failed", "deep\n\n----------ERROR-------\nerr\nfailed to run commands: exit status 3"},
		{"Four", "Failed", "documents are nested more than 3 deep: Three → Two → One → AWS-RunShellScript"},
		{"Ring", "Failed", "the document runs itself without end: Ring → Ring"},
	} {
		steps := p.command(n, tc.name, nil)
		if len(steps) != 1 || steps[0].Status != tc.status || steps[0].ResponseCode != 1 || !strings.Contains(steps[0].Output, tc.want) {
			t.Errorf("%s: %+v", tc.name, steps)
		}
	}
	p.document("Later", object("schemaVersion", "2.2", "mainSteps", []any{
		object("action", "aws:softwareInventory", "name", "inventory", "inputs", object()), object("action", "aws:refreshAssociation", "name", "refresh", "inputs", object()),
		object("action", "aws:updateSsmAgent", "name", "update", "inputs", object()), object("action", "aws:updateAgent", "name", "config", "inputs", object())}))
	later := p.command(n, "Later", nil)
	for i, want := range []string{"needs the agent's inventory", "needs the agent's associations", "needs the agent's updater", "EC2Config, which is obsolete"} {
		if len(later) != 4 || (later[i].Status != "Failed" && i < 3) || !strings.Contains(later[i].Output, want) {
			t.Errorf("%+v", later)
		}
	}
	p.awsJSON(nil, "s3api", "create-bucket", "--bucket", "lab")
	for key, content := range map[string]string{
		"scripts/hello.sh": "#!/bin/sh\necho \"hello $1\"\n",
		"inner.yml":        "schemaVersion: '2.2'\nparameters:\n  who: {type: String, default: nobody}\nmainSteps:\n- action: aws:runShellScript\n  name: greet\n  inputs:\n    runCommand: ['echo \"hello {{ who }}, $SSM_COMMAND_ID\"']\n",
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p.awsJSON(nil, "s3api", "put-object", "--bucket", "lab", "--key", key, "--body", file)
	}
	const s3 = "https://s3.us-east-1.amazonaws.com/lab/"
	steps := p.command(n, "AWS-RunRemoteScript", object("sourceType", []string{"S3"}, "sourceInfo", []string{text(object("path", s3+"scripts"))}, "commandLine", []string{"hello.sh world"}))
	if len(steps) != 3 || steps[1].Status != "Success" && steps[2].Status != "Success" || !strings.Contains(steps[1].Output+steps[2].Output, "hello world\n") {
		t.Errorf("AWS-RunRemoteScript: %+v", steps)
	}
	steps = p.command(n, "AWS-RunDocument", object("sourceType", []string{"S3"}, "sourceInfo", []string{text(object("path", s3+"inner.yml"))}, "documentParameters", []string{`{"who":"ada"}`}))
	if len(steps) != 2 || steps[1].Status != "Success" || !strings.HasPrefix(steps[1].Output, "hello ada, ") || len(steps[1].Output) < 40 {
		t.Errorf("AWS-RunDocument: %+v", steps)
	}
	steps = p.command(n, "AWS-RunDocument", object("sourceType", []string{"SSMDocument"}, "sourceInfo", []string{`{"name":"AWS-RunShellScript"}`}, "documentParameters", []string{`{"commands":["pwd"]}`}))
	if len(steps) != 2 || steps[1].Status != "Success" || !strings.HasPrefix(steps[1].Output, "/") {
		t.Errorf("AWS-RunDocument of a document: %+v", steps)
	}
}
