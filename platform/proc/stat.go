package proc

import (
	"errors"
	"strconv"
	"strings"
)

// stat is what we need of a process; on Linux from /proc/PID/stat
// (proc_pid_stat(5)).
type stat struct {
	pid, ppid, pgrp int
	state           byte   // field 3
	start           uint64 // field 22, clock ticks since boot; on macOS microseconds since 1970
}

// dead says that it has ended, reaped or not.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// parseStat reads a line of /proc/PID/stat. The command may contain anything,
// so counting begins after its last bracket.
func parseStat(line string) (stat, error) {
	bad := errors.New("process status line is malformed")
	head, _, ok := strings.Cut(line, " (")
	end := strings.LastIndexByte(line, ')')
	if !ok || end < 0 {
		return stat{}, bad
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return stat{}, bad
	}
	s := stat{state: f[0][0]}
	var errs [4]error
	s.pid, errs[0] = strconv.Atoi(head)
	s.ppid, errs[1] = strconv.Atoi(f[1])
	s.pgrp, errs[2] = strconv.Atoi(f[2])
	s.start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	if errors.Join(errs[:]...) != nil {
		return stat{}, bad
	}
	return s, nil
}

// number parses a directory name of /proc.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(name)
	return n, err == nil && n >= 0
}

// tree is who descends from whom.
type tree map[int][]stat

func newTree(all []stat) tree {
	t := tree{}
	for _, s := range all {
		t[s.ppid] = append(t[s.ppid], s)
	}
	return t
}

// below lists what descends from pid, without those that skip names and what
// descends from them.
func (t tree) below(pid int, skip func(stat) bool) []stat {
	var out []stat
	seen := map[int]bool{pid: true} // a snapshot is not atomic and may hold a circle
	todo := []int{pid}
	for len(todo) > 0 {
		parent := todo[0]
		todo = todo[1:]
		for _, s := range t[parent] {
			if seen[s.pid] || skip(s) {
				continue
			}
			seen[s.pid] = true
			out = append(out, s)
			todo = append(todo, s.pid)
		}
	}
	return out
}

// keeper returns the skip function of a list of processes to leave alone.
func keeper(keep []ID) func(stat) bool {
	set := map[ID]bool{}
	for _, id := range keep {
		set[id] = true
	}
	return func(s stat) bool { return set[s.id()] }
}

func (s stat) id() ID { return ID{PID: s.pid, Start: s.start} }

// marked says whether a block of NUL-ended environment entries has entry.
func marked(block, entry string) bool {
	return strings.Contains("\x00"+block, "\x00"+entry+"\x00")
}
