package engine

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

type operation int

const (
	execute operation = iota
	skip
	fail
)

// verdict is what happens to a step, and why.
type verdict struct {
	operation operation
	reason    string
	message   string
}

// Forecast is what becomes of a step when its turn comes. What earlier steps
// will do to it by their exit codes, onFailure and onSuccess it cannot say.
type Forecast struct {
	Status doc.Status // Skipped, Failed, or NotStarted for one that will run
	Reason string     `json:",omitempty"` // as in doc.Result
	Why    string     `json:",omitempty"`
}

// Foresee makes a Forecast of s for a platform and the handlers there.
func Foresee(s doc.Step, platform string, plugins step.Set) Forecast {
	_, handler := plugins[s.Action]
	switch v := decide(s, platform, handler, false); v.operation {
	case skip:
		return Forecast{doc.Skipped, v.reason, v.message}
	case fail:
		return Forecast{doc.Failed, v.reason, v.message}
	}
	return Forecast{Status: doc.NotStarted}
}

// decide goes through the rules in the order in which they count.
func decide(s doc.Step, platform string, handler, exit bool) verdict {
	say := func(o operation, reason, why string) verdict {
		return verdict{o, reason, fmt.Sprintf("step %s (%s) %s", s.ID, s.Action, why)}
	}
	known, supported := doc.Known(s.Action), doc.Supported(platform, s.Action)
	unknown := say(fail, ReasonUnknown, "has an action that this agent does not know")
	elsewhere := say(skip, ReasonUnsupported, "was skipped: this agent has no such plugin on "+platform+remark(s.Action))
	switch {
	case exit:
		return say(skip, ReasonPriorExit, "was skipped: an earlier step ended the document")
	case !s.PreconditionsEnabled && !known:
		return unknown
	case !s.PreconditionsEnabled && !supported:
		return say(fail, ReasonUnsupported, "has an action that is not supported on "+platform)
	case !s.PreconditionsEnabled && len(s.Preconditions) > 0:
		return say(fail, ReasonBefore22, "has a precondition, which needs schemaVersion 2.2")
	case !s.PreconditionsEnabled && !handler:
		return say(fail, ReasonNoHandler, "has an action without a plugin on "+platform+remark(s.Action))
	case !s.PreconditionsEnabled:
		return verdict{}
	case len(s.Preconditions) == 0 && !known:
		return unknown
	case len(s.Preconditions) == 0 && (!supported || !handler):
		return elsewhere
	case len(s.Preconditions) == 0:
		return verdict{}
	}
	allowed, fault := preconditions(s.Preconditions, platform)
	switch {
	case allowed && !known:
		return unknown
	case !supported || !handler:
		return elsewhere
	case !allowed:
		return say(skip, ReasonUnsatisfied, "was skipped: its precondition does not hold")
	case fault != "":
		return say(fail, ReasonUnrecognized, "has an unrecognized precondition: "+fault)
	}
	return verdict{}
}

// remark is what else there is to say about an action without a plugin.
func remark(action string) string {
	if action == "aws:updateAgent" {
		return "; it updates EC2Config, which is obsolete: use aws:updateSsmAgent"
	}
	return ""
}

// preconditions evaluates all operators: one that does not hold counts before
// one that makes no sense.
func preconditions(p map[string][]doc.Argument, platform string) (allowed bool, fault string) {
	allowed = true
	for operator, args := range p {
		if operator != "StringEquals" {
			fault = fmt.Sprintf("operator %q; use StringEquals", operator)
			continue
		}
		holds, f := stringEquals(args, platform)
		allowed = allowed && holds
		if f != "" {
			fault = f
		}
	}
	return allowed, fault
}

var storeReference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\{\s*ssm(-secure)?:[\w-/]+\s*\}\}`) })

// stringEquals holds also when it has a fault: that is told apart later.
func stringEquals(args []doc.Argument, platform string) (holds bool, fault string) {
	if len(args) != 2 {
		return true, fmt.Sprintf("StringEquals takes two arguments, not %d", len(args))
	}
	a, b := args[0], args[1]
	if b.Initial == "platformType" {
		a, b = b, a
	}
	switch {
	case a.Initial == b.Initial:
		return true, "both arguments are the same"
	case storeReference().MatchString(a.Initial) || storeReference().MatchString(b.Initial):
		return true, "Parameter Store references are not possible here"
	case a.Initial == "platformType":
		if b.Initial != b.Resolved {
			return true, "platformType is compared with a fixed text only"
		}
		return strings.EqualFold(b.Initial, platform), ""
	case a.Initial == a.Resolved && b.Initial == b.Resolved:
		return true, "an argument must be platformType or refer to a parameter of the document"
	}
	return a.Resolved == b.Resolved, ""
}
