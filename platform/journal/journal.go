// Package journal is the seam for the log of the system's service manager, to
// which entries go with their fields.
package journal

import "log/slog"

// Sender sends an entry: its text, and fields whose names are capitals, digits
// and underscores.
type Sender func(level slog.Level, message string, fields map[string]string) error

// Open returns a way to the journal if that is where this process's standard
// error goes; false: entries belong there as text. identifier is what programs
// that show the journal call the process.
func Open(identifier string) (Sender, bool) { return open(identifier) }
