package users

import (
	"fmt"
	"strings"
)

// record of a directory: each attribute with its values.
type attributes map[string][]string

// maxAttributes bounds what is read of an answer.
const maxAttributes = 256

// parseAttributes reads what `dscl -read` prints: "Name: value value" on a
// line, or, where a value has blanks, the name and a colon, and then each value
// on a line of its own behind a blank.
func parseAttributes(out string) attributes {
	a := attributes{}
	last := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, " "); ok {
			if last != "" {
				a[last] = append(a[last], value)
			}
			continue
		}
		name, values, ok := strings.Cut(line, ":")
		// Names of attributes that have no standard name have a prefix.
		if i := strings.LastIndexByte(name, ' '); !ok || i >= 0 || name == "" || len(a) >= maxAttributes {
			last = "" // "No such key: …", and other remarks
			continue
		}
		last = name
		a[name] = append(a[name], strings.Fields(values)...)
	}
	return a
}

func (a attributes) first(name string) string {
	if len(a[name]) == 0 {
		return ""
	}
	return a[name][0]
}

// entry is the account that the attributes describe; name is what it was asked
// for by, which may be one of several names.
func (a attributes) entry(name string) (entry, error) {
	uid, err := parseID(a.first("UniqueID"))
	if err != nil {
		return entry{}, fmt.Errorf("its UniqueID: %w", err)
	}
	gid, err := parseID(a.first("PrimaryGroupID"))
	if err != nil {
		return entry{}, fmt.Errorf("its PrimaryGroupID: %w", err)
	}
	if own := a.first("RecordName"); own != "" {
		name = own
	}
	return entry{name: name, uid: uid, gid: gid, home: a.first("NFSHomeDirectory"), shell: a.first("UserShell")}, nil
}

// searchPath is PATH of the lines of macOS's /etc/paths.
func searchPath(paths string) string {
	var dirs []string
	for line := range strings.Lines(paths) {
		if dir := strings.TrimSpace(line); strings.HasPrefix(dir, "/") {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}
