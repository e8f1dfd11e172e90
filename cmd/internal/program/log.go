package program

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"ssmagent/internal/environ"
	"ssmagent/internal/logbook"
	"ssmagent/platform/journal"
)

// Names, sizes and numbers of the stock agent's log files, which log shippers
// rely on.
const (
	mainLog, mainSize           = "amazon-ssm-agent", 30_000_000
	errorsLog, errorsSize       = "errors", 10_000_000
	hibernateLog, hibernateSize = "hibernate", 30_000
	logRolls, hibernateRolls    = 5, 2
)

// logDir is the variable that tells workers where logs are: they outlive the
// agent that started them.
const logDir = "SSMAGENT_LOG_DIR"

// firstLevel is the level of a log that nobody has changed.
func firstLevel() slog.Level {
	if os.Getenv("SSMAGENT_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// agentLog is the agent's log: its files in dir, which it rolls over, and
// standard error or the journal.
func agentLog(s streams, dir string, level slog.Leveler) (*slog.Logger, func()) {
	handlers := []slog.Handler{screen(s, mainLog, level)}
	var files []io.Closer
	add := func(name string, size int64, rolls int, handler func(io.Writer) slog.Handler) {
		f, err := logbook.Open(filepath.Join(dir, name+".log"), size, rolls)
		if err != nil {
			s.failf("amazon-ssm-agent", "log file: %v; what belongs there goes to standard error only", err)
			return
		}
		files, handlers = append(files, f), append(handlers, handler(f))
	}
	add(mainLog, mainSize, logRolls, func(w io.Writer) slog.Handler { return logbook.NewLine(w, level, false) })
	add(errorsLog, errorsSize, logRolls, func(w io.Writer) slog.Handler { return logbook.NewLine(w, slog.LevelError, true) })
	add(hibernateLog, hibernateSize, hibernateRolls, func(w io.Writer) slog.Handler {
		return logbook.Marked{Handler: logbook.NewLine(w, slog.LevelInfo, false), Key: "hibernating_for"}
	})
	return slog.New(slog.NewMultiHandler(handlers...)), func() {
		for _, f := range files {
			_ = f.Close() // nothing was buffered
		}
	}
}

// workerLog is the log of a worker called name, into the agent's files.
func workerLog(s streams, name string) *slog.Logger {
	level := firstLevel()
	handlers := []slog.Handler{screen(s, name, level)}
	if dir := os.Getenv(logDir); dir != "" {
		handlers = append(handlers,
			logbook.NewLine(logbook.Follow(filepath.Join(dir, logName(name)+".log")), level, false),
			logbook.NewLine(logbook.Follow(filepath.Join(dir, errorsLog+".log")), slog.LevelError, true))
	}
	return slog.New(slog.NewMultiHandler(handlers...))
}

// screen is where a service's standard error leads: the journal, whose entries
// have fields, or whatever reads lines.
func screen(s streams, name string, level slog.Leveler) slog.Handler {
	if send, ok := journal.Open(name); ok {
		return logbook.NewEntries(func(e logbook.Entry) error { return send(e.Level, e.Message, e.Fields) }, level)
	}
	return slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level, ReplaceAttr: logbook.Hide})
}

// workerEnv is what workers get: ours, and where logs are.
func workerEnv(logs string) []string { return environ.Set(os.Environ(), logDir, logs) }
