package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metrics are the figures in the text format of Prometheus.
func (s Status) metrics() string {
	var m exposition
	m.gauge("ssmagent_info", "What this agent is.", 1, "version", s.Version, "instance_id", s.InstanceID, "region", s.Region, "identity", s.Identity)
	m.gauge("ssmagent_ready", "1 while the service counts the node as online.", number(s.Ready))
	m.head("ssmagent_state", "gauge", "1 for the state that the node is in.")
	for _, state := range []State{Starting, Hibernating, Unreachable, Online, Polling, Reconnecting, Offline} {
		m.sample("ssmagent_state", number(s.State == state), "state", string(state))
	}
	m.gauge("ssmagent_channel_open", "1 while the gateway's channel is open.", number(s.ChannelOpen))
	m.head("ssmagent_heartbeats_total", "counter", "Pings by what became of them.")
	m.sample("ssmagent_heartbeats_total", float64(s.Heartbeat.AnsweredTotal), "result", "answered")
	m.sample("ssmagent_heartbeats_total", float64(s.Heartbeat.RefusedTotal), "result", "refused")
	m.sample("ssmagent_heartbeats_total", float64(s.Heartbeat.LostTotal), "result", "lost")
	m.gauge("ssmagent_heartbeat_answered_time_seconds", "When the last ping was answered; 0: never.", unix(s.Heartbeat.Answered))
	m.gauge("ssmagent_credentials_expire_time_seconds", "When the node's credentials expire; 0: there are none, or without an end.", unix(s.CredentialsExpire))
	m.gauge("ssmagent_clock_behind_seconds", "How far this machine's clock is behind the service's.", s.ClockBehind)
	m.head("ssmagent_commands", "gauge", "Commands that are not over.")
	m.sample("ssmagent_commands", float64(s.CommandsWaiting), "state", "waiting")
	m.sample("ssmagent_commands", float64(s.CommandsRunning), "state", "running")
	m.gauge("ssmagent_sessions", "Sessions that are open.", float64(s.Sessions))
	m.gauge("ssmagent_unsent_reports", "Reports that the service has not acknowledged.", float64(s.Unsent))
	m.gauge("ssmagent_memory_limit_bytes", "Memory that the runtime tries to keep below.", float64(s.MemoryLimitBytes))
	m.gauge("go_goroutines", "Goroutines.", float64(s.Goroutines))
	m.gauge("go_memstats_heap_alloc_bytes", "Heap that is in use.", float64(s.HeapBytes))
	m.gauge("process_resident_memory_bytes", "Resident memory.", float64(s.ResidentBytes))
	m.gauge("process_open_fds", "Open files.", float64(s.OpenFiles))
	m.gauge("process_max_fds", "How many files may be open; 0: no limit is known.", float64(s.FileLimit))
	m.gauge("process_start_time_seconds", "When the agent started.", unix(s.Started))
	return m.text.String()
}

// exposition is a text of metrics.
type exposition struct{ text strings.Builder }

func (m *exposition) head(name, kind, help string) {
	fmt.Fprintf(&m.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// gauge is a metric of one sample.
func (m *exposition) gauge(name, help string, value float64, labels ...string) {
	m.head(name, "gauge", help)
	m.sample(name, value, labels...)
}

// sample takes names and values of labels in turn.
func (m *exposition) sample(name string, value float64, labels ...string) {
	m.text.WriteString(name)
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		pairs = append(pairs, pair[0]+`="`+escape(pair[len(pair)-1])+`"`)
	}
	if len(pairs) > 0 {
		m.text.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	m.text.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// escape is that of label values.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is a time in seconds; none is 0.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
