package imds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Instance is what the service says of the machine that it is asked from.
type Instance struct{ ID, Region string }

// Instance asks who this machine is.
func (c *Client) Instance(ctx context.Context) (Instance, error) {
	id, err := c.word(ctx, "/latest/meta-data/instance-id")
	if err != nil {
		return Instance{}, err
	}
	b, err := c.Get(ctx, "/latest/dynamic/instance-identity/document")
	if err != nil {
		return Instance{}, err
	}
	region, err := regionOf(b)
	return Instance{ID: id, Region: region}, err
}

func regionOf(document []byte) (string, error) {
	var d struct{ Region string }
	if json.Unmarshal(document, &d) != nil || d.Region == "" {
		return "", errors.New("instance metadata: the identity document has no region; does something else answer in its place?")
	}
	return d.Region, nil
}

// Zone is the instance's availability zone and the zone's id.
func (c *Client) Zone(ctx context.Context) (name, id string, err error) {
	if name, err = c.word(ctx, "/latest/meta-data/placement/availability-zone"); err == nil {
		id, err = c.word(ctx, "/latest/meta-data/placement/availability-zone-id")
	}
	return name, id, err
}

// word is a document of one word.
func (c *Client) word(ctx context.Context, path string) (string, error) {
	b, err := c.Get(ctx, path)
	if err != nil {
		return "", err
	}
	const most = 128
	s := strings.TrimSpace(string(b))
	if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' }) {
		return "", fmt.Errorf("instance metadata %s: the answer is none; does a captive portal or proxy answer in its place?", path)
	}
	return s, nil
}
