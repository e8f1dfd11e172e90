package kms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
)

// A key's policy says who may use it. Who may administer it, it does not say
// here: every operator may.
const (
	policyName    = "default"
	maxPolicy     = 32 << 10 // bytes, as AWS has it
	maxStatements = 100
	allow         = "Allow"
	deny          = "Deny"
)

// policy is a policy document, as far as it counts here.
type policy struct {
	Version   string          `json:",omitempty"`
	Id        string          `json:",omitempty"`
	Statement list[statement] // of which at least one must allow, and none deny
}

type statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal principals
	Action    list[string]
	Resource  list[string]
}

// list is one of them or several.
type list[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("[")) {
		return strict(b, (*[]T)(l))
	}
	*l = make(list[T], 1)
	return strict(b, &(*l)[0])
}

// principals are who a statement is about. Services and the like are kept
// apart: none of them calls here.
type principals struct {
	all bool
	aws list[string]
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *principals) UnmarshalJSON(b []byte) error {
	var kinds map[string]list[string]
	if string(bytes.TrimSpace(b)) == `"*"` {
		p.all = true
		return nil
	}
	if err := strict(b, &kinds); err != nil {
		return err
	}
	p.aws = kinds["AWS"]
	p.all = slices.Contains(p.aws, "*")
	return nil
}

// strict decodes and takes no member that it does not know: one that narrows a
// statement must not be overlooked.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// parsePolicy reads the policy of the key with the ARN.
func parsePolicy(text, arn string) (p policy, err error) {
	if len(text) > maxPolicy {
		return p, api.Errorf("LimitExceededException", "Policy has %d bytes, needs at most %d", len(text), maxPolicy)
	}
	if !json.Valid([]byte(text)) {
		err = errors.New("it is no JSON")
	} else {
		err = strict([]byte(text), &p)
	}
	if err == nil && (len(p.Statement) == 0 || len(p.Statement) > maxStatements) {
		err = fmt.Errorf("it has %d statements, needs 1 to %d", len(p.Statement), maxStatements)
	}
	for i, s := range p.Statement {
		if err == nil {
			if err = s.check(arn); err != nil {
				err = fmt.Errorf("Statement %d: %w", i+1, err) //nolint:staticcheck // the member's name
			}
		}
	}
	if err != nil {
		return policy{}, api.Errorf("MalformedPolicyDocumentException", "Policy: %v; here statements have Sid, Effect, Principal, Action and Resource", err)
	}
	return p, nil
}

func (s statement) check(arn string) error {
	switch {
	case s.Effect != allow && s.Effect != deny:
		return fmt.Errorf("Effect is %q, needs %s or %s", api.Clip(s.Effect, 128), allow, deny) //nolint:staticcheck // the member's name
	case !s.Principal.all && len(s.Principal.aws) == 0:
		return errors.New("Principal names nobody under AWS") //nolint:staticcheck // the member's name
	case len(s.Action) == 0:
		return errors.New("Action is missing") //nolint:staticcheck // the member's name
	}
	for _, r := range s.Resource {
		if r != "*" && r != arn {
			return fmt.Errorf(`Resource is %q, needs "*" or the key's own ARN`, api.Clip(r, 128)) //nolint:staticcheck // the member's name
		}
	}
	if len(s.Resource) == 0 {
		return errors.New(`Resource is missing, needs "*"`) //nolint:staticcheck // the member's name
	}
	for _, a := range s.Action {
		if strings.ContainsAny(a, `[]\`) {
			return fmt.Errorf("Action is %q, needs letters, a colon, * and ?", api.Clip(a, 128)) //nolint:staticcheck // the member's name
		}
	}
	return nil
}

// about says whether the statement is about the caller's action.
func (s statement) about(c api.Caller, action string) bool {
	acts := slices.ContainsFunc(s.Action, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower("kms:"+action))
		return ok && err == nil
	})
	return acts && (s.Principal.all || slices.ContainsFunc(s.Principal.aws, func(who string) bool { return means(who, c) }))
}

// means says whether a principal of a policy means the caller: by its ARN, that
// of its role, or its account as a whole.
func means(who string, c api.Caller) bool {
	role := ""
	if rest, ok := strings.CutPrefix(c.ARN, "arn:aws:sts::"+c.Account+":assumed-role/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		role = "arn:aws:iam::" + c.Account + ":role/" + name
	}
	switch who {
	case "":
		return false
	case c.ARN, role, c.Account, "arn:aws:iam::" + c.Account + ":root":
		return true
	}
	return false
}

// lets refuses callers whose action the key's policy does not allow. A key
// without one is everybody's whom this service serves.
func (s *Service) lets(c api.Caller, k Key, action string) error {
	if k.Policy == "" {
		return nil
	}
	p, err := parsePolicy(k.Policy, s.keyARN(k.ID))
	if err != nil {
		return fmt.Errorf("the policy of key %s in the store: %w", k.ID, err)
	}
	allowed := false
	for _, st := range p.Statement {
		if !st.about(c, action) {
			continue
		}
		if st.Effect == deny {
			return s.unauthorized(c, k, action, "with an explicit deny in a resource-based policy")
		}
		allowed = true
	}
	if !allowed {
		return s.unauthorized(c, k, action, "because no resource-based policy allows the kms:"+action+" action")
	}
	return nil
}

func (s *Service) unauthorized(c api.Caller, k Key, action, why string) error {
	return api.Errorf(api.CodeAccessDenied, "User: %s is not authorized to perform: kms:%s on resource: %s %s", c.ARN, action, s.keyARN(k.ID), why)
}
