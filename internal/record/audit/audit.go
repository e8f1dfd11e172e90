// Package audit is the node's own log of who did what through it: a line of
// JSON for every session, command, forward, copy and registration. Each line
// carries the hash of the one before, and an anchor file the hash of the last,
// so that a line that was changed, removed or moved is found. Agent and
// workers write it, one at a time.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Kind says what an Event is about.
type Kind string

// The kinds of events.
const (
	SessionStart    Kind = "session.start"
	SessionEnd      Kind = "session.end"
	CommandAccepted Kind = "command.accepted"
	CommandFinished Kind = "command.finished"
	CommandRefused  Kind = "command.refused"
	Forward         Kind = "forward"
	Copy            Kind = "copy"
	Registration    Kind = "registration"
	// RecordingFailed says that a recording ended before its session did.
	RecordingFailed Kind = "recording.failed"
	// Torn stands behind a line whose writing was cut short by a crash.
	Torn Kind = "audit.torn"
	// Dropped stands for old files that were removed to make room.
	Dropped Kind = "audit.dropped"
	// AnchorLost says that the anchor was found missing or damaged.
	AnchorLost Kind = "audit.anchor"
)

// Event is what happened. Only members that mean something for its kind are
// set; texts are clipped.
type Event struct {
	Kind      Kind   `json:"event"`
	Session   string `json:"session,omitempty"`
	Command   string `json:"command,omitempty"`
	Type      string `json:"type,omitempty"` // of the session
	Document  string `json:"document,omitempty"`
	Node      string `json:"node,omitempty"`
	Owner     string `json:"owner,omitempty"`  // ARN of who asked for it
	User      string `json:"user,omitempty"`   // account on the node
	Target    string `json:"target,omitempty"` // address, or path of a copy
	Direction string `json:"direction,omitempty"`
	Status    string `json:"status,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Recording string `json:"recording,omitempty"` // name of the file
	Digest    string `json:"sha256,omitempty"`    // of what was copied
	Traffic
	// Missed is how many events this process could not write before this one.
	Missed int `json:"missed,omitempty"`
	// Bytes and Lines belong to Torn and Dropped.
	Bytes int64  `json:"bytes,omitempty"`
	Lines int64  `json:"lines,omitempty"`
	Hash  string `json:"hash,omitempty"`
}

// Traffic is what went through a session or a connection.
type Traffic struct {
	In          int64 `json:"bytesIn,omitempty"`  // from the client
	Out         int64 `json:"bytesOut,omitempty"` // to the client
	Connections int   `json:"connections,omitempty"`
	Millis      int64 `json:"durationMs,omitempty"`
}

// Line is a line of the log.
type Line struct {
	Seq  int64     `json:"seq"` // from 1, counted over all files
	Time time.Time `json:"time"`
	Prev string    `json:"prev"` // hash of the line before
	Event
}

const (
	// maxText bounds each text of an event in bytes.
	maxText = 512
	// maxLine bounds a line in bytes: all texts, escaped.
	maxLine = 64 << 10
	// anchorFile holds the number and the hash of the last line.
	anchorFile = "anchor"
	// reserveFile is given up when the disk is full.
	reserveFile = "reserve"
	reserveSize = 64 << 10
	// LockFile is what writers lock.
	LockFile = "lock"
)

// hash is what the next line says of this one, its line feed left out.
func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// first is what the first line says of the one before.
func first() string { return strings.Repeat("0", 2*sha256.Size) }

// appendLine appends e as a line and returns its hash too.
func appendLine(b []byte, seq int64, now time.Time, prev string, e Event) ([]byte, string, error) {
	for _, text := range []*string{
		&e.Session, &e.Command, &e.Type, &e.Document, &e.Node, &e.Owner, &e.User, &e.Target, &e.Direction,
		&e.Status, &e.Detail, &e.Recording, &e.Digest, &e.Hash,
	} {
		*text = clip(*text)
	}
	line, err := json.Marshal(Line{Seq: seq, Time: now.UTC().Truncate(time.Microsecond), Prev: prev, Event: e})
	if err != nil {
		return b, "", fmt.Errorf("encode an event of the audit log: %w", err)
	}
	return append(append(b, line...), '\n'), hash(line), nil
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// parseLine reads a line without its line feed.
func parseLine(b []byte) (Line, error) {
	var l Line
	if err := json.Unmarshal(b, &l); err != nil {
		return Line{}, fmt.Errorf("no line of an audit log: %w", err)
	}
	if l.Seq < 1 || len(l.Prev) != 2*sha256.Size {
		return Line{}, fmt.Errorf("no line of an audit log: its number is %d, its hash of the line before has %d digits", l.Seq, len(l.Prev))
	}
	return l, nil
}
