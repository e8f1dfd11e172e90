// Package localapi is how people on the node ask the running agent about its
// commands and hand it documents: over a local socket for root and the agent's
// own user, one request a connection, lines of JSON.
package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
)

// Channel is that of jobs that came over the socket.
const Channel = "ssm-cli"

// Socket is the path of the agent's socket below the directory of those.
func Socket(dir string) string { return filepath.Join(dir, "agent") }

const (
	// maxRequest bounds a request: a document with its parameters, escaped.
	maxRequest = 8 << 20
	// maxAnswer bounds a line of an answer: a step with its parameters, a
	// result, or a list.
	maxAnswer = 64 << 20
	// MaxList is how many commands a list has at most.
	MaxList = 1000

	maxParameters = 1 << 20
	maxName       = 200
)

// Request is what a client asks for. One member is set.
type Request struct {
	List   int       `json:",omitempty"` // so many commands
	Show   string    `json:",omitempty"` // the command of this id
	Cancel string    `json:",omitempty"` // the command of this id; answered when it is over
	Run    *Document `json:",omitempty"`
	// Resolve is Run that runs nothing and answers with the steps.
	Resolve *Document `json:",omitempty"`
}

// check says what is wrong with a request that was read.
func (r Request) check() error {
	n := 0
	for _, is := range []bool{r.List != 0, r.Show != "", r.Cancel != "", r.Run != nil, r.Resolve != nil} {
		if is {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("a request asks for one of List, Show, Cancel, Run and Resolve")
	case r.List < 0 || r.List > MaxList:
		return fmt.Errorf("List is %d, not from 1 to %d", r.List, MaxList)
	}
	return nil
}

// Document is one to be run.
type Document struct {
	Name       string
	Content    []byte // JSON or YAML
	Parameters map[string][]string
}

// Answer is a line of an answer. The last one has Error, Command, Ended
// or Done.
type Answer struct {
	Error    string        `json:",omitempty"`
	Commands []job.Summary `json:",omitempty"`
	// Accepted is the id of the command that a document became, Dir where
	// its steps' files are.
	Accepted string      `json:",omitempty"`
	Dir      string      `json:",omitempty"`
	Result   *doc.Result `json:",omitempty"` // of a step that is over
	// Restarting says that the machine is about to; the document goes on
	// after that.
	Restarting bool         `json:",omitempty"`
	Ended      doc.Status   `json:",omitempty"` // how the document ended
	Command    *job.Summary `json:",omitempty"` // its results were lines of their own
	Step       *doc.Step    `json:",omitempty"` // of a document that is resolved
	// Done: Commands are all there are, or the steps were.
	Done bool `json:",omitempty"`
}

func (a Answer) last() bool {
	return a.Error != "" || a.Done || a.Command != nil || a.Ended != ""
}

// Parameters reads the values for a document's parameters as the AWS CLI takes
// them: an object with a text, a list of texts or another JSON value of each.
func Parameters(text string) (map[string][]string, error) {
	if len(text) > maxParameters {
		return nil, fmt.Errorf("the parameters have %d bytes; at most %d are taken", len(text), maxParameters)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return nil, fmt.Errorf(`the parameters are no JSON object such as {"commands":["uptime"]}: %w`, err)
	}
	values := make(map[string][]string, len(given))
	for name, raw := range given {
		var one string
		var list []string
		switch {
		case json.Unmarshal(raw, &one) == nil && string(raw) != "null":
			values[name] = []string{one}
		case json.Unmarshal(raw, &list) == nil && list != nil:
			values[name] = list
		default:
			values[name] = []string{string(raw)}
		}
	}
	return values, nil
}

// Resolve makes steps of d, checked as the service checks what it delivers.
func (d Document) Resolve(ctx context.Context, store doc.ParameterStore) ([]doc.Step, error) {
	parsed, err := doc.DecodeAny(d.Content)
	if err != nil {
		return nil, err
	}
	values, err := parsed.ServiceParameters(d.Parameters)
	if err != nil {
		return nil, err
	}
	return parsed.Resolve(ctx, values, doc.Options{ValidateAll: true, Store: store})
}

// shown is the document's name as far as a log or a table takes it.
func (d Document) shown() string {
	name := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, d.Name)
	return name[:min(len(name), maxName)]
}
