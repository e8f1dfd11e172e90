package doc

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// CompareVersions compares versions of dotted numbers: -1, 0 or 1. Leading
// zeros and surrounding blanks do not count; of two that are otherwise equal
// the longer is the later.
func CompareVersions(a, b string) (int, error) {
	as, err := versionParts(a)
	if err != nil {
		return 0, err
	}
	bs, err := versionParts(b)
	if err != nil {
		return 0, err
	}
	for i := range min(len(as), len(bs)) {
		// Without leading zeros the longer number is the larger.
		if c := cmp.Or(cmp.Compare(len(as[i]), len(bs[i])), cmp.Compare(as[i], bs[i])); c != 0 {
			return c, nil
		}
	}
	return cmp.Compare(len(as), len(bs)), nil
}

func versionParts(v string) ([]string, error) {
	parts := strings.Split(strings.TrimSpace(v), ".")
	for i, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return nil, fmt.Errorf("version %s is not made of numbers between dots", quoted(v))
		}
		parts[i] = strings.TrimLeft(p, "0")
	}
	return parts, nil
}

// DefaultTimeout is the time-out of a script that names none or a wrong one.
const DefaultTimeout = time.Hour

// ExecutionTimeout reads a timeoutSeconds input: a number or the text of one
// from 5 to 172800, fractions dropped; anything else is DefaultTimeout.
func ExecutionTimeout(v any) time.Duration {
	var f float64
	switch v := v.(type) {
	case string:
		p, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return DefaultTimeout
		}
		f = p
	case json.Number:
		return ExecutionTimeout(v.String())
	case float64:
		f = v
	case int:
		f = float64(v)
	case int64:
		f = float64(v)
	case uint64:
		f = float64(v)
	}
	if f = math.Trunc(f); !(f >= 5 && f <= 172800) { // false for NaN
		return DefaultTimeout
	}
	return time.Duration(f) * time.Second
}

// NameVersion splits a document's name argument ("name", "name:version", an
// ARN with or without a version) into what to ask for. Texts with more colons
// stay whole, as stock agents leave them.
func NameVersion(s string) (name, version string) {
	parts := strings.Split(s, ":")
	if strings.HasPrefix(s, "arn:") {
		if len(parts) < 7 {
			return s, ""
		}
		return strings.Join(parts[:6], ":"), parts[6]
	}
	switch len(parts) {
	case 1:
		return s, ""
	case 2:
		return parts[0], parts[1]
	}
	return s, parts[1]
}
