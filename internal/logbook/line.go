// Package logbook writes the log of the agent and its workers: lines as stock
// agents write them, into the files that log shippers know, and entries with
// fields for the system's journal.
package logbook

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"path"
	"runtime"
	"strings"
	"sync"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/secret"
)

// stamp is that of stock lines; it is local time.
const stamp = "2006-01-02 15:04:05.0000"

// maxMessage bounds the text of a record.
const maxMessage = 32 << 10

// Line is a Handler of lines "date time LEVEL message key=value …", each
// written in one piece: several processes share a file.
type Line struct {
	w      io.Writer
	min    slog.Leveler
	source bool
	text   *fields
}

// NewLine returns a Line that writes records of at least min to w; with source
// they say where in the program they come from.
func NewLine(w io.Writer, minimum slog.Leveler, source bool) *Line {
	return &Line{w: w, min: minimum, source: source, text: newFields()}
}

// Enabled implements slog.Handler.
func (l *Line) Enabled(_ context.Context, level slog.Level) bool { return level >= l.min.Level() }

// WithAttrs implements slog.Handler.
func (l *Line) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Line{l.w, l.min, l.source, l.text.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })}
}

// WithGroup implements slog.Handler.
func (l *Line) WithGroup(name string) slog.Handler {
	return &Line{l.w, l.min, l.source, l.text.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })}
}

// Handle implements slog.Handler.
func (l *Line) Handle(ctx context.Context, r slog.Record) error {
	attrs, err := l.text.of(ctx, r)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(r.Time.Local().Format(stamp) + " " + r.Level.String() + " ")
	if l.source {
		b.WriteString(where(r.PC))
	}
	b.WriteString(message(r.Message) + attrs + "\n")
	_, err = io.WriteString(l.w, b.String())
	return err
}

// where is "[function @ file.line] ", as stock agents write it.
func where(pc uintptr) string {
	if pc == 0 {
		return ""
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return fmt.Sprintf("[%s @ %s.%d] ", path.Base(f.Function), path.Base(f.File), f.Line)
}

// message is a record's text on one line.
func message(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), maxMessage)])
}

// Hide is what a slog.Handler replaces attributes with: keys and credentials of
// types that are not ours are hidden, as a secret.Text hides itself.
func Hide(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Any().(type) {
	case rsa.PrivateKey, *rsa.PrivateKey, aws.Credentials, *aws.Credentials:
		a.Value = slog.StringValue(secret.Hidden)
	}
	return a
}

// fields makes " key=value …" of a record's attributes, quoted as slog does.
type fields struct {
	h   slog.Handler
	buf *shared
}

// shared is what all handlers of one log write their attributes into.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func newFields() *fields {
	s := new(shared)
	return &fields{buf: s, h: slog.NewTextHandler(&s.b, &slog.HandlerOptions{Level: slog.Level(-1 << 20), ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey || a.Key == slog.TimeKey) {
			return slog.Attr{}
		}
		return Hide(groups, a)
	}})}
}

func (f *fields) with(change func(slog.Handler) slog.Handler) *fields {
	return &fields{change(f.h), f.buf}
}

func (f *fields) of(ctx context.Context, r slog.Record) (string, error) {
	f.buf.mu.Lock()
	defer f.buf.mu.Unlock()
	f.buf.b.Reset()
	if err := f.h.Handle(ctx, r); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(f.buf.b.String(), "\n")
	if text == "" {
		return "", nil
	}
	return " " + message(text), nil // slog lets some control characters pass
}
