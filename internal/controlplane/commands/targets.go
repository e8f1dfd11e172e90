package commands

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// share is a number of n, or a percentage of it, rounded up and at least low.
// Its form was checked before.
func share(s string, n, low int) int {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.Atoi(digits)
	if err != nil {
		return low
	}
	if percent {
		v = (n*v + 99) / 100
	}
	return max(low, v)
}

// errorShare is MaxErrors in nodes. Unlike a concurrency, a percentage is
// rounded down: 10% of 5 nodes allows none.
func errorShare(s string, n int) int {
	if digits, percent := strings.CutSuffix(s, "%"); percent {
		v, err := strconv.Atoi(digits)
		if err != nil {
			return 0
		}
		return n * v / 100
	}
	return share(s, n, 0)
}

// checkTargets checks what can be checked without the register.
func checkTargets(in ssm.SendCommandInput) *api.Error {
	switch {
	case len(in.InstanceIds) == 0 && len(in.Targets) == 0:
		return api.Errorf("InvalidParameters", "no node is named: give InstanceIds or Targets")
	case len(in.InstanceIds) > 0 && len(in.Targets) > 0:
		return api.Errorf("InvalidParameters", "InstanceIds and Targets cannot be given together: put the ids into a target with the key InstanceIds")
	}
	if e := checkIDs("InstanceIds", in.InstanceIds); e != nil {
		return e
	}
	for i, t := range in.Targets {
		name := "Targets[" + strconv.Itoa(i) + "]"
		switch {
		case t.Key == "InstanceIds":
			if e := checkIDs(name+".Values", t.Values); e != nil {
				return e
			}
		case t.Key == "tag-key", strings.HasPrefix(t.Key, "tag:") && len(t.Key) > len("tag:"):
		default:
			return api.Errorf("InvalidParameters", "%s.Key is %q: known keys are InstanceIds, tag-key and tag:<name>", name, t.Key)
		}
		if len(t.Values) == 0 {
			return api.Errorf("InvalidParameters", "%s.Values is empty: give at least one value for %s", name, t.Key)
		}
	}
	return nil
}

func checkIDs(member string, ids []string) *api.Error {
	seen := map[string]bool{}
	for i, id := range ids {
		if !api.Matches("instanceId", id) {
			return api.Errorf(api.CodeValidation, "%s[%d] is %q, needs i- and 8 or 17, or mi- and 17 word characters", member, i, cut(id, 64))
		}
		if seen[id] {
			return api.Errorf("DuplicateInstanceId", "%s names %s twice", member, id)
		}
		seen[id] = true
	}
	return nil
}

// resolve returns the nodes that a command goes to, in order of id.
func resolve(tx *store.Tx, in ssm.SendCommandInput) ([]nodes.Node, error) {
	if len(in.InstanceIds) > 0 {
		return byID(tx, in.InstanceIds)
	}
	for _, t := range in.Targets {
		if t.Key == "InstanceIds" {
			if _, err := byID(tx, t.Values); err != nil {
				return nil, err
			}
		}
	}
	var out []nodes.Node
	err := nodes.Nodes.Scan(tx, "", "", func(_ string, n nodes.Node) (bool, error) {
		if !slices.ContainsFunc(in.Targets, func(t ssm.Target) bool { return !matches(n, t) }) {
			out = append(out, n)
		}
		return true, nil
	})
	return out, err
}

func byID(tx *store.Tx, ids []string) ([]nodes.Node, error) {
	out := make([]nodes.Node, 0, len(ids))
	for _, id := range ids {
		n, ok, err := nodes.Nodes.Get(tx, id)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, api.Errorf("InvalidInstanceId", "node %s is not registered here: describe-instance-information lists those that are", id)
		}
		out = append(out, n)
	}
	sort.Slice(out, func(i, k int) bool { return out[i].ID < out[k].ID })
	return out, nil
}

func matches(n nodes.Node, t ssm.Target) bool {
	switch {
	case t.Key == "InstanceIds":
		return slices.Contains(t.Values, n.ID)
	case t.Key == "tag-key":
		return slices.ContainsFunc(n.Tags, func(tag ssm.Tag) bool { return slices.Contains(t.Values, tag.Key) })
	}
	v, ok := n.Tag(strings.TrimPrefix(t.Key, "tag:"))
	return ok && slices.Contains(t.Values, v)
}

// runsOn says whether a document for these platforms runs on the node. A node
// that has not reported its platform yet is given the benefit of the doubt.
func runsOn(platforms []string, n nodes.Node) bool {
	return len(platforms) == 0 || n.Info.PlatformType == "" || slices.Contains(platforms, n.Info.PlatformType)
}
