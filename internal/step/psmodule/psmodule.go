// Package psmodule is the action aws:psModule: it puts a module into the folder
// of Windows PowerShell's own modules and runs a script.
package psmodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/archive"
	"ssmagent/internal/step"
	"ssmagent/internal/step/artifact"
	"ssmagent/internal/wire/doc"
)

// maxNesting bounds lists in lists of lines.
const maxNesting = 8

// Plugin installs a module and runs a script. It is safe for concurrent use.
type Plugin struct {
	// Scripts runs the lines. Stock agents write them without a byte order
	// mark here.
	Scripts step.Plugin
	Modules string // the folder of modules, absolute
	Fetch   artifact.Fetch
}

var _ step.Plugin = Plugin{}

type inputs struct {
	RunCommand       any    `json:"runCommand"`
	ID               string `json:"id"`
	WorkingDirectory string `json:"workingDirectory"`
	TimeoutSeconds   any    `json:"timeoutSeconds"`
	Source           string `json:"source"`
	SourceHash       string `json:"sourceHash"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := step.Decode[inputs](in.Properties, "id, workingDirectory, source and sourceHash must be strings")
	if err != nil {
		return step.Reject(in, err)
	}
	lines, err := flat(i.RunCommand, 0)
	if err != nil {
		return step.Reject(in, err)
	}
	if i.Source != "" {
		err := p.install(ctx, in, i)
		switch {
		case ctx.Err() != nil:
			return step.Stopped(ctx, in, err)
		case err != nil:
			return step.Fail(in, err)
		}
	}
	in.CommandID = "" // as with stock agents
	in.Properties = map[string]any{"runCommand": lines, "id": i.ID, "workingDirectory": i.WorkingDirectory, "timeoutSeconds": i.TimeoutSeconds}
	return p.Scripts.Run(ctx, in)
}

// flat makes the lines of a string, or of a list of strings and lists.
func flat(v any, depth int) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		if depth == maxNesting {
			return nil, fmt.Errorf("runCommand has lists more than %d deep", maxNesting)
		}
		var all []string
		for _, e := range v {
			lines, err := flat(e, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, lines...)
		}
		return all, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("runCommand: %w", err)
	}
	return nil, fmt.Errorf("runCommand holds %.40s, which is no string; it must be a string or a list of strings", b)
}

// install unpacks the module beside the others first, so that it gets its
// folder's rights and so that one that is no archive changes nothing.
func (p Plugin) install(ctx context.Context, in step.Input, i inputs) (err error) {
	at := in
	at.StepDir = filepath.Join(in.StepDir, doc.PropertyDir(i.ID))
	file, err := artifact.Get(ctx, artifact.Source{Address: i.Source, SHA256: i.SourceHash}, at, p.Fetch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Remove()) }()
	if err := os.MkdirAll(p.Modules, 0o755); err != nil {
		return fmt.Errorf("make the folder of modules: %w", err)
	}
	root, err := os.OpenRoot(p.Modules)
	if err != nil {
		return fmt.Errorf("open the folder of modules: %w", err)
	}
	defer root.Close()
	stage := ".ssmagent-" + rand.Text()
	if err := root.Mkdir(stage, 0o755); err != nil {
		return fmt.Errorf("unpack the module: %w", err)
	}
	defer func() { err = errors.Join(err, root.RemoveAll(stage)) }()
	if err := unpack(root, stage, file.Path); err != nil {
		return fmt.Errorf("unpack the module: %w", err)
	}
	if err := move(root, stage); err != nil {
		return fmt.Errorf("put the module into %s: %w; a file that a running PowerShell uses cannot be replaced", p.Modules, err)
	}
	return nil
}

func unpack(root *os.Root, stage, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	below, err := root.OpenRoot(stage)
	if err != nil {
		return err
	}
	defer below.Close()
	return archive.Unzip(below, f, info.Size(), archive.DefaultLimits())
}

// move takes each file to where it belongs, over one that is there: a module may
// have other versions beside the new one.
func move(root *os.Root, stage string) error {
	return fs.WalkDir(root.FS(), stage, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == stage {
			return err
		}
		to := filepath.FromSlash(strings.TrimPrefix(name, stage+"/"))
		if d.IsDir() {
			return root.MkdirAll(to, 0o755)
		}
		return root.Rename(filepath.FromSlash(name), to)
	})
}
