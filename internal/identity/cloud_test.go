package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/vault"
)

const (
	taskText      = `{"Cluster":"arn:aws:ecs:eu-west-1:1:cluster/web","TaskARN":"arn:aws:ecs:eu-west-1:1:task/web/0123456789abcdef0123456789abcdef"}`
	containerText = `{"DockerId":"fedcba9876543210fedcba9876543210-1"}`
)

func TestTask(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v4/x/task" {
			fmt.Fprint(w, taskText)
			return
		}
		fmt.Fprint(w, containerText)
	}))
	defer srv.Close()
	env := map[string]string{"ECS_CONTAINER_METADATA_URI_V4": srv.URL + "/v4/x"}
	id, err := Task(t.Context(), func(n string) string { return env[n] }, srv.Client(), clock.Real{})
	want := "ecs:web_0123456789abcdef0123456789abcdef_fedcba9876543210fedcba9876543210-1"
	if err != nil || id.InstanceID != want || id.Region != "eu-west-1" || id.Short() != "fedcba9876543210fedcba9876543210-1" {
		t.Errorf("%+v, %q, %v", id, id.Short(), err)
	}
	if got := (Identity{InstanceID: "ecs:a_b"}).Short(); got != "ecs_a_b" {
		t.Errorf("short: %q", got)
	}
	if _, err := Task(t.Context(), func(string) string { return "" }, srv.Client(), clock.Real{}); err == nil || !strings.Contains(err.Error(), "is set") {
		t.Error(err)
	}
	for _, bad := range []string{"", "<html>", "{}", `{"Cluster":"c","TaskARN":"x"}`, strings.Replace(taskText, "eu-west-1:1:task", "../x:1:task", 1)} {
		if id, err := parseTask([]byte(bad), []byte(containerText)); err == nil {
			t.Errorf("%s: %+v", bad, id)
		}
	}
}

func FuzzTask(f *testing.F) {
	f.Add([]byte(taskText), []byte(containerText))
	f.Fuzz(func(t *testing.T, task, container []byte) {
		if id, err := parseTask(task, container); err == nil && (id.check() != nil || strings.ContainsAny(id.Short(), "/\\:")) {
			t.Errorf("%+v", id)
		}
	})
}

// TestResolveOrder: the first usable one of the configured order counts, a
// registration before the cloud, and each loser says why.
func TestResolveOrder(t *testing.T) {
	t.Parallel()
	ec2 := func(context.Context) (Identity, error) { return Identity{InstanceID: ec2ID, Region: "eu-west-1"}, nil }
	ecs := func(context.Context) (Identity, error) {
		return Identity{InstanceID: "ecs:a_b_c", Region: "eu-west-1"}, nil
	}
	fails := func(context.Context) (Identity, error) { return Identity{}, errors.New("it hangs") }
	lies := func(context.Context) (Identity, error) { return Identity{InstanceID: "../x", Region: "eu-west-1"}, nil }
	for name, tc := range map[string]struct {
		order     string
		container bool
		cloud     Cloud
		want      string // of an error, if it is no id
	}{
		"default":                      {"", false, Cloud{Instance: ec2, Task: ecs}, ec2ID},
		"ECS first":                    {"ECS EC2", false, Cloud{Instance: ec2, Task: ecs}, "ecs:a_b_c"},
		"container mode":               {"", true, Cloud{Instance: ec2, Task: ecs}, "ecs:a_b_c"},
		"container mode with an order": {"EC2", true, Cloud{Instance: ec2, Task: ecs}, ec2ID},
		"EC2 fails":                    {"", false, Cloud{Instance: fails}, "mi-custom"},
		"EC2 lies":                     {"EC2", false, Cloud{Instance: lies}, "is not an instance id"},
		"all fail":                     {"EC2 ECS", false, Cloud{Instance: fails, Task: fails}, "EC2: it hangs; ECS: it hangs"},
	} {
		cfg := config.Default()
		cfg.Agent.ContainerMode = tc.container
		if tc.order != "" {
			cfg.Identity.ConsumptionOrder = strings.Fields(tc.order)
		}
		cfg.Identity.CustomIdentities = []config.CustomIdentity{{InstanceID: "mi-custom", Region: "eu-west-1"}}
		id, _, err := Resolve(t.Context(), cfg, vault.New(newDisk(t), data), tc.cloud)
		if id.InstanceID != tc.want && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}
