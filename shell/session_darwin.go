package shell

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB (sys/proc.h).
const zombie = 5

// living lists the processes of session sid that are not zombies.
func living(sid int) ([]int, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("hang up: list processes: %w", err)
	}
	var out []int
	for i := range all {
		pid := int(all[i].Proc.P_pid)
		if all[i].Proc.P_stat == zombie {
			continue
		}
		if s, err := unix.Getsid(pid); err == nil && s == sid {
			out = append(out, pid)
		}
	}
	return out, nil
}
