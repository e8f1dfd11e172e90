package admin

import (
	"strings"
	"testing"
	"time"
)

// TestMetrics holds the text to Prometheus's format: each sample stands under
// a HELP and a TYPE of its name, and values of labels are escaped.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := Status{
		State: Polling, Ready: true, Version: "1", InstanceID: "a\"b\\c\nd", ClockBehind: -1.5, CommandsWaiting: 3,
		Heartbeat: Heartbeat{Answered: time.Unix(1700000000, 500e6), RefusedTotal: 2},
	}
	text := s.metrics()
	name := ""
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "# HELP "):
			name = strings.Fields(line)[2]
		case strings.HasPrefix(line, "# TYPE "+name+" gauge\n"), strings.HasPrefix(line, "# TYPE "+name+" counter\n"):
		case strings.HasPrefix(line, name+"{") && strings.Contains(line, "\"} "), strings.HasPrefix(line, name+" "):
		default:
			t.Errorf("below %s: %q", name, line)
		}
	}
	for _, want := range []string{
		`instance_id="a\"b\\c\nd"`, "\nssmagent_ready 1\n", `ssmagent_state{state="polling"} 1`, `ssmagent_state{state="online"} 0`,
		"\nssmagent_clock_behind_seconds -1.5\n", `ssmagent_commands{state="waiting"} 3`, `ssmagent_heartbeats_total{result="refused"} 2`,
		"\nssmagent_heartbeat_answered_time_seconds 1.7000000005e+09\n", "\nssmagent_credentials_expire_time_seconds 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
