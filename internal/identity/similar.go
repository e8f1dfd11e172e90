package identity

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differ says why the machines with these properties are not the same, and
// nothing when they are (platform reference, 6.6).
func differ(saved, current map[string]string, threshold int) string {
	if threshold == disabledThreshold {
		return ""
	}
	if len(saved) == 0 || len(current) == 0 {
		return "the saved or the current hardware properties are not available"
	}
	id := "machine-id"
	if _, windows := current["uuid"]; windows {
		id = "uuid"
	}
	if saved[id] != current[id] {
		return fmt.Sprintf("its %s changed from %.80q to %.80q", id, saved[id], current[id])
	}
	if saved["ipaddress-info"] == current["ipaddress-info"] {
		return ""
	}
	var changed []string
	matched := 0
	for _, k := range slices.Sorted(maps.Keys(current)) {
		if old, ok := saved[k]; ok && old == current[k] {
			matched++
		} else {
			changed = append(changed, k)
		}
	}
	// In 32 bits, as the stock agent computes it.
	percent := float32(matched) / float32(len(current)) * 100
	if percent >= float32(threshold) {
		return ""
	}
	return fmt.Sprintf("%s changed, which leaves %.2f %% alike of the %d %% that are needed", strings.Join(changed, ", "), percent, threshold)
}
