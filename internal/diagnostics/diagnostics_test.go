package diagnostics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ssmagent/internal/admin"
	"ssmagent/platform"
)

func TestResultsStandInOrder(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	results := Run(t.Context(), []Check{
		{"first", 0, func(context.Context) (string, error) { <-release; return "a", nil }},
		{"second", 0, func(context.Context) (string, error) { return "", Skip("not here") }},
		{"third", 0, func(context.Context) (string, error) { close(release); return "", errors.New("broken") }},
		{"fourth", time.Millisecond, func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }},
	})
	want := []Result{{"first", Success, "a"}, {"second", Skipped, "not here"}, {"third", Failed, "broken"}, {"fourth", Failed, "context deadline exceeded"}}
	for i, r := range results {
		if r != want[i] {
			t.Errorf("%+v, not %+v", r, want[i])
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Table(&b, []Result{{"One", Success, "all is well with this node as far as anybody can see from where we stand here"}, {"Two", Skipped, ""}}, "\n"); err != nil {
		t.Fatal(err)
	}
	want := `┌───────┬─────────┬────────────────────────────────────────────────────────────┐
│ Check │ Status  │ Note                                                       │
├───────┼─────────┼────────────────────────────────────────────────────────────┤
│ One   │ Success │ all is well with this node as far as anybody can see from  │
│       │         │ where we stand here                                        │
├───────┼─────────┼────────────────────────────────────────────────────────────┤
│ Two   │ Skipped │                                                            │
└───────┴─────────┴────────────────────────────────────────────────────────────┘
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := Table(&b, []Result{{"One", Failed, strings.Repeat("x", 100)}}, "\r\n"); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) { // one word is never broken
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\r\n")); n != 121 {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}

// sound is a node at which nothing is wrong.
func sound() Node {
	now := time.Unix(1_700_000_000, 0)
	return Node{
		InstanceID: "mi-1", Region: "eu-west-1", OnPrem: true, Version: "3.3.9000.0", User: "root",
		Instance: func(context.Context) (string, string, error) { return "i-1", "eu-west-1", nil },
		Agent: func(context.Context) (admin.Status, error) {
			return admin.Status{State: admin.Online, Ready: true, Version: "3.3.9000.0", User: "root", Heartbeat: admin.Heartbeat{Answered: now.Add(-time.Minute)}}, nil
		},
		Caller:  func(context.Context) (string, time.Time, error) { return "arn:x", now.Add(time.Hour), nil },
		Service: func() string { return "Unable to find ssm agent on this instance" },
		Config:  func() ([]string, error) { return nil, nil },
		Space:   func(string) (platform.Space, error) { return platform.Space{Free: 1 << 30, FreeFiles: -1}, nil },
		Dirs:    []string{"/data"}, Now: func() time.Time { return now },
	}
}

// TestNode: each check of the machine, sound and as people find it.
func TestNode(t *testing.T) {
	t.Parallel()
	gone := func(context.Context) (admin.Status, error) { return admin.Status{}, admin.ErrNone }
	for _, c := range []struct {
		name   string
		change func(*Node)
		check  func(Node) Check
		status Status
		note   string
	}{
		{"registered", nil, Node.Registration, Success, "Instance has hybrid registration with instance id mi-1 in region eu-west-1"},
		{"not registered", func(n *Node) { n.OnPrem = false }, Node.Registration, Skipped, "Instance does not have hybrid registration"},
		{"metadata of a registered node", nil, Node.Metadata, Skipped, "Instance has hybrid registration"},
		{"metadata", func(n *Node) { n.OnPrem = false }, Node.Metadata, Success, "IMDS is accessible and has instance id i-1 in region eu-west-1"},
		{"no metadata", func(n *Node) {
			n.OnPrem, n.Instance = false, func(context.Context) (string, string, error) { return "", "", errors.New("HTTP 401") }
		}, Node.Metadata, Failed, "Failed to query IMDS: HTTP 401"},
		{"credentials", nil, Node.Credentials, Success, "Credentials are for arn:x and will expire at 2023-11-14 23:13:20 UTC"},
		{"credentials without an end", func(n *Node) {
			n.Caller = func(context.Context) (string, time.Time, error) { return "arn:x", time.Time{}, nil }
		}, Node.Credentials, Success, "do not expire"},
		{"credentials that are over", func(n *Node) {
			n.Caller = func(context.Context) (string, time.Time, error) { return "arn:x", time.Unix(1, 0), nil }
		}, Node.Credentials, Failed, "have expired"},
		{"credentials refused", func(n *Node) {
			n.Caller = func(context.Context) (string, time.Time, error) { return "", time.Time{}, errors.New("AccessDenied") }
		}, Node.Credentials, Failed, "Failed call sts endpoint: AccessDenied"},
		{"credentials of nobody", func(n *Node) { n.InstanceID = "" }, Node.Credentials, Skipped, "No credentials available"},
		{"credentials of an agent that is not there", func(n *Node) {
			n.Caller = func(context.Context) (string, time.Time, error) { return "", time.Time{}, admin.ErrNone }
		}, Node.Credentials, Skipped, "not running"},
		{"service", nil, Node.Running, Success, "Agent service is running and is running as expected user"},
		{"service of another user", func(n *Node) { n.User = "SYSTEM" }, Node.Running, Failed, "agent is running as root instead of expected user SYSTEM"},
		{"no service", func(n *Node) { n.Agent = gone }, Node.Running, Failed, "Unable to find ssm agent on this instance"},
		{"no proxies", nil, Node.ProxyVariables, Skipped, "No proxy configuration detected"},
		{"proxies", func(n *Node) { n.Proxies = map[string]string{"https_proxy": "http://p:1"} }, Node.ProxyVariables, Success, "Detected proxy configuration: http_proxy: NULL https_proxy: http://p:1 no_proxy: NULL"},
		{"version", nil, Node.AgentVersion, Success, "SSM Agent version is 3.3.9000.0"},
		{"old agent", func(n *Node) { n.Version = "3.3.9001.0" }, Node.AgentVersion, Success, "but the one that runs is 3.3.9000.0"},
		{"heartbeat", nil, Node.Heartbeat, Success, "answered 1m0s ago; the node is online"},
		{"no agent", func(n *Node) { n.Agent = gone }, Node.Heartbeat, Skipped, "not running"},
		{"no heartbeat", func(n *Node) {
			n.Agent = func(context.Context) (admin.Status, error) {
				return admin.Status{State: admin.Hibernating, Why: "denied"}, nil
			}
		}, Node.Heartbeat, Failed, "never answered; the node is hibernating: denied"},
		{"disk", nil, Node.Disk, Success, "/data has 1024 MiB left"},
		{"full disk", func(n *Node) {
			n.Space = func(string) (platform.Space, error) { return platform.Space{Free: 5 << 20, FreeFiles: -1}, nil }
		}, Node.Disk, Failed, "has only 5 MiB left"},
		{"no inodes", func(n *Node) {
			n.Space = func(string) (platform.Space, error) { return platform.Space{Free: 1 << 40, FreeFiles: 7}, nil }
		}, Node.Disk, Failed, "room for only 7 more files"},
		{"configuration", nil, Node.Configuration, Success, "Nothing is wrong with it"},
		{"configuration with a typing error", func(n *Node) { n.Config = func() ([]string, error) { return []string{"Mds.X: no such setting"}, nil } }, Node.Configuration, Failed, "no such setting"},
		{"broken configuration", func(n *Node) { n.Config = func() ([]string, error) { return nil, errors.New("line 3") } }, Node.Configuration, Failed, "line 3"},
	} {
		n := sound()
		if c.change != nil {
			c.change(&n)
		}
		if r := c.check(n).result(t.Context()); r.Status != c.status || !strings.Contains(r.Note, c.note) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}
