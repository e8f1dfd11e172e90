// Package content is the action aws:downloadContent: files from S3, from a web
// server, from Git, from GitHub or a document of Systems Manager, put into a
// directory that no name from outside leads out of.
package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// Limits bound what one step downloads.
type Limits struct {
	Bytes int64 // of all files
	Files int
	Depth int // of directories
}

// DefaultLimits are those where a Plugin names none.
func DefaultLimits() Limits { return Limits{Bytes: 16 << 30, Files: 100_000, Depth: 64} }

// Plugin downloads. It is safe for concurrent use.
type Plugin struct {
	// HTTP is the client of all traffic but Git's.
	HTTP func() (*http.Client, error)
	// Credentials are the node's, Region its region; S3 is the URL of an
	// object store in place of Amazon's, empty for none.
	Credentials aws.CredentialsProvider
	Region, S3  string
	UserAgent   string
	// GitHub is the URL of GitHub's API; empty is the public one.
	GitHub string
	// Secret fetches "ssm-secure:name" or "ssm:name" from Parameter Store.
	Secret func(ctx context.Context, ref string) (string, error)
	// Document fetches the content of a document.
	Document func(ctx context.Context, name, version string) ([]byte, error)
	// Start is proc.Start, FindProgram finds a program in PATH.
	Start       func(proc.Spec) (proc.Process, error)
	FindProgram func(name string) (string, error)
	Env         []string // of Git
	Clock       clock.Clock
	Limits      Limits
}

var _ step.Plugin = Plugin{}

type inputs struct {
	SourceType      string          `json:"sourceType"`
	SourceInfo      json.RawMessage `json:"sourceInfo"`
	DestinationPath string          `json:"destinationPath"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	i, err := decode(in.Properties)
	if err != nil {
		return step.Reject(in, err)
	}
	if p.Limits == (Limits{}) {
		p.Limits = DefaultLimits()
	}
	to, err := place(in.CommandDir, i.DestinationPath)
	if err == nil {
		to.left = p.Limits
		err = p.download(ctx, i, to)
		to.close()
	}
	switch {
	case ctx.Err() != nil:
		return step.Stopped(ctx, in, err)
	case err != nil:
		return step.Fail(in, fmt.Errorf("download content: %w", err))
	}
	if _, err := fmt.Fprintf(in.Stdout, "Content downloaded to %s", to.name); err != nil {
		return step.Fail(in, err)
	}
	return step.Outcome{Status: doc.Success}
}

// download fetches from the source the inputs name.
func (p Plugin) download(ctx context.Context, i inputs, to *destination) error {
	switch i.SourceType {
	case "S3":
		return fetch(ctx, i.SourceInfo, to, p.s3)
	case "HTTP":
		return fetch(ctx, i.SourceInfo, to, p.http)
	case "Git":
		return fetch(ctx, i.SourceInfo, to, p.git)
	case "GitHub":
		return fetch(ctx, i.SourceInfo, to, p.gitHub)
	case "SSMDocument":
		return fetch(ctx, i.SourceInfo, to, p.document)
	case "":
		return errors.New("sourceType is missing; use S3, HTTP, Git, GitHub or SSMDocument")
	}
	return fmt.Errorf("sourceType %.40q is not known; use S3, HTTP, Git, GitHub or SSMDocument, in these letters", i.SourceType)
}

func fetch[I any](ctx context.Context, info json.RawMessage, to *destination, from func(context.Context, I, *destination) error) error {
	var i I
	if err := json.Unmarshal(info, &i); err != nil {
		return inputFault("sourceInfo", err)
	}
	return from(ctx, i, to)
}

func decode(properties any) (inputs, error) {
	b, err := json.Marshal(properties)
	if err != nil {
		return inputs{}, fmt.Errorf("inputs of the step: %w", err)
	}
	var i inputs
	if err := json.Unmarshal(b, &i); err != nil {
		return inputs{}, inputFault("inputs", err)
	}
	var text string
	if json.Unmarshal(i.SourceInfo, &text) == nil { // an object in a string
		i.SourceInfo = json.RawMessage(text)
	}
	if !strings.HasPrefix(strings.TrimSpace(string(i.SourceInfo)), "{") || !json.Valid(i.SourceInfo) {
		return inputs{}, errors.New("sourceInfo must be a JSON object, or a string that holds one")
	}
	return i, nil
}

// inputFault says which member is of the wrong type.
func inputFault(where string, err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: %s is a JSON %s, which it must not be", where, wrong.Field, wrong.Value)
	}
	return fmt.Errorf("%s: %w", where, err)
}

type documentInfo struct {
	Name string `json:"name"`
}

// document fetches a document of Systems Manager into a file.
func (p Plugin) document(ctx context.Context, i documentInfo, to *destination) error {
	if i.Name == "" {
		return errors.New("sourceInfo has no name of a document")
	}
	name, version := doc.NameVersion(i.Name)
	content, err := p.Document(ctx, name, version)
	if err != nil {
		return err
	}
	return to.file(name[strings.LastIndexAny(name, "/:")+1:]+".json", strings.NewReader(string(content)))
}
