package logbook

import (
	"context"
	"log/slog"
	"maps"
)

// Entry is one of the system's journal.
type Entry struct {
	Level   slog.Level
	Message string
	// Fields are SSM_SESSION_ID, SSM_COMMAND_ID and SSM_INSTANCE_ID.
	Fields map[string]string
}

// journalField is the journal's name for an attribute that people look for.
func journalField(key string) string {
	switch key {
	case "session":
		return "SSM_SESSION_ID"
	case "command":
		return "SSM_COMMAND_ID"
	case "instance":
		return "SSM_INSTANCE_ID"
	}
	return ""
}

// Entries is a Handler that makes Entries.
type Entries struct {
	send  func(Entry) error
	min   slog.Leveler
	text  *fields
	known map[string]string
}

// NewEntries returns an Entries that sends records of at least min.
func NewEntries(send func(Entry) error, minimum slog.Leveler) *Entries {
	return &Entries{send: send, min: minimum, text: newFields(), known: map[string]string{}}
}

// Enabled implements slog.Handler.
func (e *Entries) Enabled(_ context.Context, level slog.Level) bool { return level >= e.min.Level() }

// WithAttrs implements slog.Handler.
func (e *Entries) WithAttrs(attrs []slog.Attr) slog.Handler {
	known := maps.Clone(e.known)
	for _, a := range attrs {
		note(known, a)
	}
	return &Entries{e.send, e.min, e.text.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) }), known}
}

// WithGroup implements slog.Handler.
func (e *Entries) WithGroup(name string) slog.Handler {
	return &Entries{e.send, e.min, e.text.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) }), e.known}
}

// Handle implements slog.Handler.
func (e *Entries) Handle(ctx context.Context, r slog.Record) error {
	attrs, err := e.text.of(ctx, r)
	if err != nil {
		return err
	}
	known := maps.Clone(e.known)
	r.Attrs(func(a slog.Attr) bool {
		note(known, a)
		return true
	})
	return e.send(Entry{Level: r.Level, Message: message(r.Message) + attrs, Fields: known})
}

func note(known map[string]string, a slog.Attr) {
	if name := journalField(a.Key); name != "" {
		known[name] = message(a.Value.Resolve().String())
	}
}

// Marked is a Handler of those records only that have the attribute key.
type Marked struct {
	slog.Handler

	Key string
}

// Handle implements slog.Handler.
func (m Marked) Handle(ctx context.Context, r slog.Record) error {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == m.Key
		return !found
	})
	if !found {
		return nil
	}
	return m.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (m Marked) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Marked{m.Handler.WithAttrs(attrs), m.Key}
}

// WithGroup implements slog.Handler.
func (m Marked) WithGroup(name string) slog.Handler { return Marked{m.Handler.WithGroup(name), m.Key} }
