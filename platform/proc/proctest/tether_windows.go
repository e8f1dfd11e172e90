package proctest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
)

// RunTethered is the part of the contract that only Windows has.
func RunTethered(t *testing.T) {
	tethered := func(s *proc.Spec) { s.Tethered = true }
	t.Run("nothing is left after Wait", func(t *testing.T) {
		p, ids := hanging(t, 3, tethered, "tree", "plain,group")
		must(t, p.Kill())
		if s := wait(t, p); !wasKilled(s) {
			t.Errorf("state %+v", s)
		}
		for name, id := range ids {
			if _, err := proc.Find(id); err == nil {
				t.Errorf("%s (process %d) still runs", name, id.PID)
			}
		}
	})
	t.Run("it ends with the process that started it", func(t *testing.T) {
		p, ids := hanging(t, 3, nil, "tree", "tethered,plain")
		must(t, p.Kill())
		wait(t, p)
		gone(t, ids)
	})
	t.Run("it tells its exit code", func(t *testing.T) {
		s := childSpec(t, "exit", "42")
		tethered(&s)
		if st := wait(t, start(t, s)); st.Code != 42 {
			t.Errorf("state %+v", st)
		}
	})
}

// handle is SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX.
type handle struct {
	object, pid, value uintptr
	access             uint32
	trace, kind        uint16
	attributes, spare  uint32
}

// HandlesOf is how many handles the process pid has. They are counted in the
// system's table: what GetProcessHandleCount says under wine is 0.
func HandlesOf(pid int) (int, error) {
	const head = 2 * unsafe.Sizeof(uintptr(0)) // how many, and something reserved
	for size := uint32(1 << 20); ; size *= 2 {
		buf := make([]uintptr, uintptr(size)/unsafe.Sizeof(uintptr(0)))
		err := windows.NtQuerySystemInformation(windows.SystemExtendedHandleInformation, unsafe.Pointer(&buf[0]), size, &size)
		if errors.Is(err, windows.STATUS_INFO_LENGTH_MISMATCH) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("list the handles of the system: %w", err)
		}
		n := 0
		for _, h := range unsafe.Slice((*handle)(unsafe.Add(unsafe.Pointer(&buf[0]), head)), buf[0]) {
			if h.pid == uintptr(pid) {
				n++
			}
		}
		if n == 0 {
			return 0, fmt.Errorf("process %d has no handles at all, so there is none, or they are not counted", pid)
		}
		return n, nil
	}
}

// Handles is how many handles this process has.
func Handles(t *testing.T) int {
	t.Helper()
	n, err := HandlesOf(os.Getpid())
	must(t, err)
	return n
}

// Sessions is how often Leaks does what it is given.
func Sessions() int {
	if n, err := strconv.Atoi(os.Getenv("SSMAGENT_SESSIONS")); err == nil && n > 0 {
		return n
	}
	return 50
}

// spare is how many handles the runtime's own threads may take meanwhile.
const spare = 10

// Leaks fails the test when doing something often, several at once, leaves
// handles behind. Nothing else may run meanwhile.
func Leaks(t *testing.T, atOnce int, once func()) {
	t.Helper()
	n := Sessions()
	many := func(n int) {
		var wg sync.WaitGroup
		for range atOnce {
			wg.Go(func() {
				for range n / atOnce {
					once()
				}
			})
		}
		wg.Wait()
		runtime.GC() // what is closed when it is found unused
		runtime.GC()
	}
	many(2 * atOnce) // the runtime's own threads and events
	before := Handles(t)
	many(n)
	if after := Handles(t); after > before+spare {
		t.Errorf("%d handles before, %d after %d rounds", before, after, n)
	} else {
		t.Logf("%d handles before, %d after %d rounds", before, after, n)
	}
}
