package service

import (
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sys/windows"
)

// event is the number of an entry in Windows' log of applications, by which
// administrators filter.
type event uint32

// The entries of the service.
const (
	started event = 1
	stopped event = 2
	failed  event = 3
	stuck   event = 4
)

// kind is how grave it is.
func (e event) kind() uint16 {
	if e == started || e == stopped {
		return windows.EVENTLOG_INFORMATION_TYPE
	}
	return windows.EVENTLOG_ERROR_TYPE
}

// events is an open event log.
type events interface {
	report(e event, text *uint16) error
	close() error
}

// source is the real one.
type source windows.Handle

func openEvents(name string) (events, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.RegisterEventSource(nil, p)
	if err != nil {
		return nil, err
	}
	return source(h), nil
}

func (s source) report(e event, text *uint16) error {
	return windows.ReportEvent(windows.Handle(s), e.kind(), 0, uint32(e), 0, 1, 0, &text, nil)
}

func (s source) close() error { return windows.DeregisterEventSource(windows.Handle(s)) }

// eventLog writes to the event log if there is one; what fails is told in ours.
type eventLog struct {
	events events // nil: there is none
	log    func() *slog.Logger
}

// maxEvent is how long a text may be: Windows takes 31,839 characters.
const maxEvent = 30_000

func (l eventLog) write(e event, format string, args ...any) {
	if l.events == nil {
		return
	}
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\x00", "\uFFFD")
	if len(text) > maxEvent {
		text = strings.ToValidUTF8(text[:maxEvent], "")
	}
	p, err := windows.UTF16PtrFromString(text)
	if err == nil {
		err = l.events.report(e, p)
	}
	if err != nil {
		l.log().Warn("write to the event log", "event", uint32(e), "err", err)
	}
}

func (l eventLog) close() {
	if l.events == nil {
		return
	}
	if err := l.events.close(); err != nil {
		l.log().Warn("close the event log", "err", err)
	}
}
