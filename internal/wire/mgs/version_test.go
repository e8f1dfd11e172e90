package mgs

import "testing"

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		version, limit string
		want           int
	}{
		{"1.1.70", "1.1.70", 0}, {"1.1.69", "1.1.70", -1}, {"1.1.70.0", "1.1.70", 1}, {"1.2.0.0", "1.1.70", 1}, {"1.10", "1.1.70", 1}, {"", "1.1.70", -1},
		{"x.y", "1.1.70", -1}, {"1.2.331.0", "1.2.331.0", 0}, {"1.2.331", "1.2.331.0", -1}, {"1.2.331.0.1", "1.2.331.0", 1}, {"1.2.332.0", "1.2.331.0", 1}, {"99999999999.1", "1.2.331.0", -1},
	} {
		if got := CompareVersions(tc.version, tc.limit); got != tc.want {
			t.Errorf("%s to %s: %d", tc.version, tc.limit, got)
		}
	}
}
