package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ssmagent/platform"
)

// wide measures what 100 MB of output cost the worker.
func (b *bench) wide(ctx context.Context) error {
	printed, open := filepath.Join(b.root, "printed"), filepath.Join(b.root, "widely")
	id, err := b.client.SendShell(ctx, b.node, []string{"head -c 100000000 /dev/zero", "touch " + printed, "until [ -e " + open + " ]; do sleep 0.02; done"})
	if err != nil {
		return err
	}
	if err := appears(ctx, printed); err != nil {
		return err
	}
	var most float64
	for _, pid := range workers(b.root) {
		mb, err := peak(pid)
		if err != nil {
			return err
		}
		most = max(most, mb)
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		return err
	}
	inv, err := b.client.Wait(ctx, id, b.node, func(string) {})
	if err == nil && (inv.Status != "Success" || most == 0) {
		err = fmt.Errorf("100 MB of output ended as %s, the worker had %v MB", inv.StatusDetails, most)
	}
	b.table.most("document worker RSS, 100 MB of output", "MB", most, 30, 0)
	return err
}

// long measures a document of a hundred steps, from the local folder to its
// reply.
func (b *bench) long(ctx context.Context) error {
	type step struct {
		Action string         `json:"action"`
		Name   string         `json:"name"`
		Inputs map[string]any `json:"inputs"`
	}
	var steps []step
	for i := range 100 {
		steps = append(steps, step{"aws:runShellScript", fmt.Sprintf("step%d", i), map[string]any{"runCommand": []string{"true"}}})
	}
	text, err := json.Marshal(map[string]any{"schemaVersion": "2.2", "mainSteps": steps})
	if err != nil {
		return err
	}
	folder := platform.PathsBelow(b.root).LocalCommands
	var took []float64
	for i := range 5 {
		temp := filepath.Join(b.root, "long.json")
		if err := os.WriteFile(temp, text, 0o600); err != nil {
			return err
		}
		t := time.Now()
		if err := os.Rename(temp, filepath.Join(folder, "long.json")); err != nil {
			return err
		}
		reply, err := answers(ctx, filepath.Join(folder, "completed"), i+1)
		if err != nil {
			return err
		}
		took = append(took, millis(time.Since(t)))
		if !strings.Contains(reply, `"Success":100`) {
			return fmt.Errorf("a hundred steps ended so: %.300s", reply)
		}
	}
	b.table.most("100 steps in one document", "ms", median(took), 1000, 0)
	return nil
}

// appears waits for a file.
func appears(ctx context.Context, name string) error {
	for {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// answers waits until dir has n replies and returns the newest.
func answers(ctx context.Context, dir string, n int) (string, error) {
	for {
		all, err := os.ReadDir(dir)
		if err != nil {
			return "", err
		}
		var newest string
		var at time.Time
		for _, e := range all {
			if info, err := e.Info(); err == nil && !strings.HasPrefix(e.Name(), ".") && info.ModTime().After(at) {
				newest, at = e.Name(), info.ModTime()
			}
		}
		if newest != "" && len(all) >= n {
			b, err := os.ReadFile(filepath.Join(dir, newest))
			return string(b), err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
