package proc

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB (sys/proc.h).
const zombie = 5

func readStat(pid int) (stat, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) { // an empty answer
		err = unix.ESRCH
	}
	if err != nil {
		return stat{}, err
	}
	return statOf(k), nil
}

func statOf(k *unix.KinfoProc) stat {
	s := stat{pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), pgrp: int(k.Eproc.Pgid), state: 'R'}
	if k.Proc.P_stat == zombie {
		s.state = 'Z'
	}
	s.start = uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec)
	return s
}

// processes lists all there are. Who leads a session finds its orphans below
// itself, as a subreaper does on Linux; those that left the session belong to
// launchd alone.
func processes() ([]stat, error) {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	const launchd = 1
	own := os.Getpid()
	all := make([]stat, 0, len(list))
	for i := range list {
		s := statOf(&list[i])
		if s.ppid == launchd && s.pid != own {
			if sid, err := unix.Getsid(s.pid); err == nil && sid == own {
				s.ppid = own
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// environment is what a process was started with, as far as the system shows
// it: not that of Apple's own programs to others.
func environment(pid int) (string, error) {
	args, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return "", err
	}
	return argsEnvironment(args), nil
}
