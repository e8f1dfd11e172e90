package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
)

// Cloud is what a machine in AWS knows of itself. What is nil is not there.
type Cloud struct {
	// Instance and Task are who EC2 and ECS say it is.
	Instance, Task func(context.Context) (Identity, error)
	// Zone is the instance's availability zone and its id.
	Zone func(context.Context) (name, id string, err error)
	// InstanceProfile and TaskRole are the credentials given to it, and HostRole
	// those of the instance itself, which register it.
	InstanceProfile, TaskRole, HostRole aws.CredentialsProvider
}

// ask finds out who kind says the machine is; a reason is why it is nobody.
func (c Cloud) ask(ctx context.Context, kind string) (id Identity, reason string) {
	asked := map[string]func(context.Context) (Identity, error){config.EC2: c.Instance, config.ECS: c.Task}[kind]
	if asked == nil {
		return Identity{}, kind + ": it cannot be asked here"
	}
	id, err := asked(ctx)
	if err == nil {
		err = id.check()
	}
	if err != nil {
		return Identity{}, kind + ": " + err.Error()
	}
	return Identity{id.InstanceID, id.Region, kind}, ""
}

// Bounds of a task's metadata.
const (
	taskTimeout = 2 * time.Second
	taskPause   = time.Second
	maxTask     = 1 << 20
)

// Task asks the metadata of an ECS container who its task is. The variables
// are those of the environment; h must use no proxy.
func Task(ctx context.Context, getenv func(string) string, h *http.Client, clk clock.Clock) (Identity, error) {
	base := getenv("ECS_CONTAINER_METADATA_URI_V4")
	if base == "" {
		base = getenv("ECS_CONTAINER_METADATA_URI")
	}
	if base == "" {
		return Identity{}, errors.New("neither ECS_CONTAINER_METADATA_URI_V4 nor ECS_CONTAINER_METADATA_URI is set")
	}
	var container, task []byte
	err := backoff.Do(ctx, clk, backoff.Policy{First: taskPause, Retries: 3}, func(ctx context.Context) (err error) {
		if task, err = fetch(ctx, h, base+"/task"); err == nil {
			container, err = fetch(ctx, h, base)
		}
		return err
	})
	if err != nil {
		return Identity{}, fmt.Errorf("the task's metadata: %w", err)
	}
	return parseTask(task, container)
}

func fetch(ctx context.Context, h *http.Client, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, backoff.Stop(err)
	}
	resp, err := h.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTask+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: HTTP %d", url, resp.StatusCode)
	case len(b) > maxTask:
		return nil, backoff.Stop(fmt.Errorf("%s: the answer is larger than %d bytes", url, maxTask))
	}
	return b, nil
}

// parseTask makes ecs:CLUSTER_TASK_CONTAINER of the two documents.
func parseTask(task, container []byte) (Identity, error) {
	var t struct{ Cluster, TaskARN string }
	var c struct{ DockerId string }
	if json.Unmarshal(task, &t) != nil || json.Unmarshal(container, &c) != nil {
		return Identity{}, errors.New("the task's metadata is not the JSON it should be; does something else answer in its place?")
	}
	arn := strings.Split(t.TaskARN, ":") // arn:aws:ecs:REGION:ACCOUNT:task/…
	last := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	if len(arn) != 6 || arn[2] != "ecs" || last(t.TaskARN) == "" || last(t.Cluster) == "" || c.DockerId == "" {
		return Identity{}, errors.New("the task's metadata lacks TaskARN, Cluster or DockerId")
	}
	id := Identity{"ecs:" + last(t.Cluster) + "_" + last(t.TaskARN) + "_" + c.DockerId, arn[3], config.ECS}
	return id, id.check()
}

// Short is the id as the name of a directory: of a long one the part after the
// last underscore, as the stock agent has it.
func (i Identity) Short() string {
	const long = 64
	id := i.InstanceID
	if len(id) > long {
		id = id[strings.LastIndexByte(id, '_')+1:]
	}
	return strings.ReplaceAll(id, ":", "_")
}
