package proctest

import (
	"slices"
	"strings"
)

func openDescriptors() []string { return nil }

func umask() string { return "" }

func groups() (pgid, sid int) { return 0, 0 }

// sameEnvironment allows what the system adds of its own, but nothing of ours.
func sameEnvironment(got, want []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.EqualFold(g, w) }) {
			return false
		}
	}
	return !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, "SSMAGENT_PROCTEST_OURS=") })
}
