package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

func TestRetention(t *testing.T) {
	t.Parallel()
	var dirs []orchestrated
	for i := range 5 { // 10 bytes each; the older, the later in the list
		dirs = append(dirs, orchestrated{name: fmt.Sprint(i), touched: epoch.Add(-time.Duration(i) * time.Hour), bytes: 10})
	}
	for _, tc := range []struct {
		name string
		r    Retention
		want string
	}{
		{"nothing is asked", Retention{}, ""},
		{"age", Retention{Age: 150 * time.Minute}, "4 3"},
		{"bytes", Retention{Bytes: 25}, "4 3 2"},
		{"count", Retention{Count: 4}, "4"},
		{"the strictest counts", Retention{Age: 210 * time.Minute, Bytes: 45, Count: 3}, "4 3"},
		{"enough room", Retention{Age: 5 * time.Hour, Bytes: 50, Count: 5}, ""},
	} {
		var names []string
		for _, d := range tc.r.beyond(append([]orchestrated(nil), dirs...), epoch) {
			names = append(names, d.name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s: removes %q, want %q", tc.name, got, tc.want)
		}
	}
	many := make([]orchestrated, 3*maxOrchDirs)
	if n := len((Retention{Count: 1}).beyond(many, epoch)); n != maxOrchDirs {
		t.Errorf("%d at once", n)
	}
}

// TestSweepSparesTheLiving removes by size, in the order of age, and no
// directory of a job that waits or runs.
func TestSweepSparesTheLiving(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	const root = "/data/orchestration"
	for _, id := range []string{"live", "old", "young"} {
		if err := fsys.MkdirAll(disk, root+"/"+id+"/step", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteInPlace(disk, root+"/"+id+"/step/stdout", make([]byte, 100), false); err != nil {
			t.Fatal(err)
		}
	}
	o := refusing(disk, newSink(), clock.Real{})
	o.Limits.Retention = Retention{Bytes: 150}
	q := New(o)
	q.live["live"] = &entry{}
	q.sweepOrchestration(t.Context(), root, time.Now())
	var left []string
	names, err := disk.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		left = append(left, n.Name())
	}
	if got := strings.Join(left, " "); got != "live young" {
		t.Errorf("left: %s", got)
	}
}
