package mgs

import (
	"slices"
	"strconv"
	"strings"
)

// CompareVersions compares a peer's version with a limit, number by number; of
// two that begin alike the longer is the later. What is no version is before
// all.
func CompareVersions(version, limit string) int {
	v, ok := versionNumbers(version)
	l, _ := versionNumbers(limit)
	if !ok {
		return -1
	}
	return slices.Compare(v, l)
}

func versionNumbers(version string) (all []uint64, ok bool) {
	for p := range strings.SplitSeq(version, ".") {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, false
		}
		all = append(all, n)
	}
	return all, true
}
