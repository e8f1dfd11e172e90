package journal

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// socket is where journald listens.
const socket = "/run/systemd/journal/socket"

func open(identifier string) (Sender, bool) {
	var st unix.Stat_t
	if unix.Fstat(int(os.Stderr.Fd()), &st) != nil || !isStream(os.Getenv("JOURNAL_STREAM"), st) {
		return nil, false
	}
	return dial(socket, identifier)
}

// isStream says whether variable, as the service manager sets it, names the
// file st (systemd.exec(5)).
func isStream(variable string, st unix.Stat_t) bool {
	return variable != "" && variable == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func dial(path, identifier string) (Sender, bool) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, false
	}
	return func(level slog.Level, message string, fields map[string]string) error {
		_, err := c.Write(datagram(level, message, identifier, fields))
		return err
	}, true
}

// datagram is an entry in journald's native form: a line NAME=value, or for a
// value of several lines its name, its length and itself.
func datagram(level slog.Level, message, identifier string, fields map[string]string) []byte {
	var b []byte
	add := func(name, value string) {
		b = append(b, name...)
		if !strings.Contains(value, "\n") {
			b = append(b, "="+value+"\n"...)
			return
		}
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
		b = append(b, value+"\n"...)
	}
	add("MESSAGE", message)
	add("PRIORITY", priority(level))
	add("SYSLOG_IDENTIFIER", identifier)
	for name, value := range fields {
		add(name, value)
	}
	return b
}

// priority is syslog's.
func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "3"
	case level >= slog.LevelWarn:
		return "4"
	case level >= slog.LevelInfo:
		return "6"
	}
	return "7"
}
