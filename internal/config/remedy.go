package config

import (
	"reflect"
	"strings"
)

// remedy is what to do about a key that the section of type t, which stands at
// path, does not have.
func (d *decoder) remedy(t reflect.Type, path, key string) string {
	if near := nearest(key, names(t)); near != "" {
		return "did you mean " + join(path, near) + "?"
	}
	last := key[strings.LastIndexByte(key, '.')+1:]
	for _, r := range d.rules {
		at := strings.LastIndexByte(r.path, '.')
		if strings.EqualFold(r.path[at+1:], last) {
			return "did you mean " + r.path + "?"
		}
	}
	return "remove it, or see the list of settings for its name"
}

// nearest is the name that key may be a slip of the pen for; empty: none.
func nearest(key string, names []string) string {
	best, found := max(len(key)/3, 1)+1, ""
	if len(key) > maxKey {
		return ""
	}
	for _, n := range names {
		if d := distance(strings.ToLower(key), strings.ToLower(n)); d < best {
			best, found = d, n
		}
	}
	return found
}

// maxKey bounds the keys that are compared: no setting's name is as long.
const maxKey = 100

// distance is the number of bytes to insert, remove or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
