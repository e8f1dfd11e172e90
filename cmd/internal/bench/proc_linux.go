package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// usage is what /proc says of a process.
type usage struct {
	cpuMillis       float64 // with its waited-for children
	switches        float64 // voluntary and not, of all threads
	rss, anon, file float64 // MB
}

// read reads usage of pid. Clock ticks are 10 ms, so CPU is good for sums.
func read(pid int) (usage, error) {
	var u usage
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
		v, _ := strconv.ParseFloat(f[i], 64)
		u.cpuMillis += 10 * v
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	u.rss, u.anon, u.file = field(status, "VmRSS")/1024, field(status, "RssAnon")/1024, field(status, "RssFile")/1024
	tasks, _ := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // a thread that ended
		}
		u.switches += field(b, "voluntary_ctxt_switches") + field(b, "nonvoluntary_ctxt_switches")
	}
	return u, nil
}

// field is the number behind a name in a status file.
func field(status []byte, name string) float64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return v
		}
	}
	return 0
}

// workers lists the document workers below root.
func workers(root string) []int { return processesOf(root, "ssm-document-worker") }

// processesOf lists the processes below root whose name begins with prefix.
func processesOf(root, prefix string) []int {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, name := range all {
		cmd, err := os.ReadFile(name)
		if err == nil && bytes.HasPrefix(cmd, []byte(prefix)) && bytes.Contains(cmd, []byte(root)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// sessionProcesses are the workers of sessions below root and the processes of
// their terminals, whose command lines name no folder.
func sessionProcesses(root string) []int {
	all := processesOf(root, "ssm-session")
	for _, pid := range slices.Clone(all) {
		all = append(all, children(pid)...)
	}
	return all
}

// children lists the children of pid that are processes of a session.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range lists {
		b, _ := os.ReadFile(name)
		for _, f := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(f)
			if cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); err == nil && bytes.HasPrefix(cmd, []byte("ssm-session")) {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// peak is the largest resident size of pid so far, in MB.
func peak(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return field(b, "VmHWM") / 1024, err
}

// proportional is the share of memory that is pid's, in MB.
func proportional(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	return field(b, "Pss") / 1024
}
