package sessions

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// Preferences is the document of sessions that name none. It belongs to the
// account: until an operator creates it, builtin stands for it.
const Preferences = "SSM-SessionManagerRunShell"

// builtin is what sessions do without preferences: a shell, no logs, an end
// after 20 minutes without data.
const builtin = `{"schemaVersion":"1.0","description":"Opens a shell.","sessionType":"Standard_Stream",` +
	`"inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"",` +
	`"cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":false,"kmsKeyId":"","runAsEnabled":false,` +
	`"runAsDefaultUser":"","idleSessionTimeout":"20","maxSessionDuration":"","shellProfile":{"linux":"","windows":""}}}`

const (
	codeDocument   = "InvalidDocument"
	defaultIdle    = 20 * time.Minute
	maxIdleMinutes = 60
	maxMaxMinutes  = 1440
)

// plan is a session document with an operator's parameters.
type plan struct {
	name       string
	document   mgs.SessionDocument
	parameters map[string]json.RawMessage
	idle, max  time.Duration
}

// plan resolves the named document, the preferences for "", and checks it
// with the parameters. Agents drop an order that they cannot use without a
// word, so all that they would refuse is refused here.
func (s *Service) plan(tx *store.Tx, name string, supplied map[string][]string) (plan, error) {
	name, content, err := s.content(tx, name)
	if err != nil {
		return plan{}, err
	}
	p := plan{name: name}
	var declared struct {
		Parameters map[string]doc.Parameter `json:"parameters"`
	}
	if err := errors.Join(json.Unmarshal(content, &p.document), json.Unmarshal(content, &declared)); err != nil {
		return plan{}, api.Errorf(codeDocument, "the document %s cannot be decoded: %v", name, err)
	}
	if v := p.document.SchemaVersion; v != mgs.SessionSchema {
		return plan{}, api.Errorf(codeDocument, "the document %s has schemaVersion %q, a session document has %s", name, clip(v, 16), mgs.SessionSchema)
	}
	if p.parameters, err = (doc.Document{Parameters: declared.Parameters}).ServiceParameters(supplied); err != nil {
		return plan{}, api.Errorf(api.CodeValidation, "Parameters of %s: %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	values := map[string]any{}
	for n, d := range declared.Parameters {
		values[n] = d.Default
	}
	for n, raw := range p.parameters {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return plan{}, fmt.Errorf("parameter %q: %w", n, err)
		}
		values[n] = v
	}
	if err := errors.Join(p.times(values), p.properties(values)); err != nil {
		return plan{}, api.Errorf(codeDocument, "the document %s: %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return p, nil
}

// content returns a document of type Session and its name without an ARN.
func (s *Service) content(tx *store.Tx, name string) (string, []byte, error) {
	name = cmp.Or(name, Preferences)
	d, err := s.documents.Resolve(tx, name, "")
	if err != nil {
		if name == Preferences && api.ErrorOf(err).Code == codeDocument {
			return name, []byte(builtin), nil
		}
		return "", nil, err
	}
	if d.Type != "Session" {
		return "", nil, api.Errorf(codeDocument, "the document %s is of type %s: a session needs one of type Session", d.Name, d.Type)
	}
	return d.Name, d.Content, nil
}

// times reads the two inputs that are enforced here, and checks the types of
// the others.
func (p *plan) times(values map[string]any) error {
	p.idle = defaultIdle
	if len(p.document.Inputs) == 0 {
		return nil
	}
	resolved, err := resolve(p.document.Inputs, values)
	if err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	var in mgs.SessionInputs
	// References to Parameter Store are the agent's to resolve.
	if err := json.Unmarshal(resolved, &in); err != nil && !bytes.Contains(resolved, []byte("{{")) {
		return fmt.Errorf("inputs: %w", err)
	}
	if p.idle, err = minutes("idleSessionTimeout", in.IdleSessionTimeout, defaultIdle, maxIdleMinutes); err != nil {
		return err
	}
	p.max, err = minutes("maxSessionDuration", in.MaxSessionDuration, 0, maxMaxMinutes)
	return err
}

// properties refuses what agents can do nothing with.
func (p *plan) properties(values map[string]any) error {
	if p.document.SessionType == mgs.SessionStandardStream {
		return nil
	}
	resolved, err := resolve(p.document.Properties, values)
	if err != nil || bytes.Contains(resolved, []byte("{{")) {
		return err // a reference to Parameter Store is the agent's to resolve
	}
	if p.document.SessionType == mgs.SessionPort {
		var port mgs.PortProperties
		if err := json.Unmarshal(resolved, &port); err != nil {
			return fmt.Errorf("properties: %w", err)
		}
		if n, err := strconv.ParseUint(port.PortNumber, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("properties.portNumber is %q, needs a port from 1 to 65535 as text", clip(port.PortNumber, 32))
		}
		return nil
	}
	var c mgs.CommandProperties
	if err := json.Unmarshal(resolved, &c); err != nil {
		return fmt.Errorf("properties: %w", err)
	}
	for _, on := range []*mgs.CommandProperty{c.Linux, c.MacOS, c.Windows} {
		if on != nil && strings.TrimSpace(on.Commands) != "" {
			return nil
		}
	}
	return errors.New("properties has no commands for linux, macos or windows")
}

// resolve is a part of a document with the values of its parameters.
func resolve(part json.RawMessage, values map[string]any) (json.RawMessage, error) {
	if len(part) == 0 {
		return json.RawMessage("null"), nil
	}
	var tree any
	if err := json.Unmarshal(part, &tree); err != nil {
		return nil, err
	}
	return json.Marshal(substitute(tree, values))
}

// minutes reads a number of minutes, which may be text; none is def.
func minutes(name string, raw json.RawMessage, def time.Duration, most int) (time.Duration, error) {
	text := strings.TrimSpace(string(raw))
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil {
		text = strings.TrimSpace(quoted)
	}
	if text == "" || text == "null" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s is %q, needs minutes from 1 to %d", name, clip(text, 32), most)
	}
	return time.Duration(n) * time.Minute, nil
}

var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{\s*([a-zA-Z0-9]+)\s*\}\}`) })

// substitute puts values into the strings of a tree, by the agent's rule: a
// string that is nothing but a reference takes the value with its type.
func substitute(tree any, values map[string]any) any {
	switch v := tree.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = substitute(e, values)
		}
	case []any:
		for i, e := range v {
			v[i] = substitute(e, values)
		}
	case string:
		if m := placeholder().FindStringSubmatch(v); m != nil && m[0] == v {
			if value, ok := values[m[1]]; ok {
				return value
			}
		}
		return placeholder().ReplaceAllStringFunc(v, func(ref string) string {
			value, ok := values[placeholder().FindStringSubmatch(ref)[1]].(string)
			if !ok {
				return ref
			}
			return value
		})
	}
	return tree
}
