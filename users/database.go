package users

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// entry is a line of passwd.
type entry struct {
	name, home, shell string
	uid, gid          uint32
}

// maxLine bounds a line of the account files: groups may have thousands of
// members.
const maxLine = 1 << 20

// parseEntry reads a line of passwd; false for what is none, such as comments
// and the plus signs of NIS.
func parseEntry(line string) (entry, bool) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(f) != 7 || f[0] == "" || strings.ContainsAny(f[0][:1], "+-#") {
		return entry{}, false
	}
	uid, uerr := parseID(f[2])
	gid, gerr := parseID(f[3])
	return entry{name: f[0], uid: uid, gid: gid, home: f[5], shell: f[6]}, uerr == nil && gerr == nil
}

// parseID reads a user or group id. The highest means "none" to the system.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = strconv.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("%.40q is no user or group id", s)
	}
	return uint32(n), nil
}

// group is a line of group.
type group struct {
	name    string
	gid     uint32
	members []string
}

func parseGroup(line string) (group, bool) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(f) != 4 || f[0] == "" || strings.ContainsAny(f[0][:1], "+-#") {
		return group{}, false
	}
	gid, err := parseID(f[2])
	return group{name: f[0], gid: gid, members: strings.Split(f[3], ",")}, err == nil
}

// find returns the first line of r that parses and is wanted.
func find[T any](r io.Reader, parse func(string) (T, bool), wanted func(T) bool) (found T, ok bool, err error) {
	err = each(r, parse, func(v T) bool {
		if ok = wanted(v); ok {
			found = v
		}
		return !ok
	})
	return found, ok, err
}

// each calls do with the lines that parse, until it says false.
func each[T any](r io.Reader, parse func(string) (T, bool), do func(T) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		if v, ok := parse(s.Text()); ok && !do(v) {
			return nil
		}
	}
	return s.Err()
}

// memberships are the ids of the groups in r that have e as a member, its own
// first.
func memberships(r io.Reader, e entry) ([]uint32, error) {
	ids := []uint32{e.gid}
	err := each(r, parseGroup, func(g group) bool {
		if slices.Contains(g.members, e.name) && !slices.Contains(ids, g.gid) {
			ids = append(ids, g.gid)
		}
		return true
	})
	return ids, err
}

// parseIDs reads what `id -G` prints.
func parseIDs(out string) ([]uint32, error) {
	var ids []uint32
	for f := range strings.FieldsSeq(out) {
		id, err := parseID(f)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// filesOnly says whether nsswitch.conf has groups in files only. What systemd
// adds there are groups of accounts of its own, which no file has.
func filesOnly(nsswitch string) bool {
	for line := range strings.Lines(nsswitch) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "group:")
		if !ok {
			continue
		}
		for f := range strings.FieldsSeq(rest) {
			if f != "files" && f != "systemd" && !strings.HasPrefix(f, "[") && !strings.HasSuffix(f, "]") {
				return false
			}
		}
	}
	return true
}

// assigned is the value of NAME=value or "NAME value" in a file of settings as
// login.defs and /etc/default have them.
func assigned(text, name string) string {
	value := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], "= \t") {
			continue
		}
		value = strings.Trim(strings.TrimLeft(rest, "= \t"), `"'`)
	}
	return value
}
