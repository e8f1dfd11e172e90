package session

import (
	"fmt"

	"ssmagent/internal/record/recording"
	"ssmagent/internal/wire/mgs"
)

// RecordAlways is the Mode of Records that leaves documents no choice; the
// others are mgs.RecordOn and mgs.RecordOff.
const RecordAlways = "always"

// Records is where sessions leave their traces on the node, and how much of
// them is kept. An empty directory: no such traces.
type Records struct {
	Audit       string `json:",omitempty"` // directory of the audit log
	AuditFiles  int    `json:",omitempty"`
	Recordings  string `json:",omitempty"` // directory of the recordings
	Mode        string `json:",omitempty"`
	WhenFailing string `json:",omitempty"` // mgs.RecordContinue or mgs.RecordEnd
	Retention   recording.Retention
}

// Recording is what is recorded of a session.
type Recording struct {
	On    bool
	Input bool // what is typed, while the terminal echoes it
	// Strict: what leaves no traces does not go on.
	Strict bool
}

// Recording is what node and document together want recorded of the session.
// Only terminals are recorded.
func (r Request) Recording() Recording {
	rs, in := r.Node.Records, r.Inputs.SSMAgent
	if rs.Recordings == "" {
		return Recording{}
	}
	on, failing := rs.Mode != mgs.RecordOff, rs.WhenFailing
	if rs.Mode != RecordAlways {
		if in.Recording != "" {
			on = in.Recording == mgs.RecordOn
		}
		if in.WhenRecordingFails != "" {
			failing = in.WhenRecordingFails
		}
	}
	terminal := r.Type == mgs.SessionStandardStream || r.Type == mgs.SessionInteractiveCommands
	return Recording{On: on && terminal, Input: bool(in.RecordInput), Strict: failing == mgs.RecordEnd}
}

// checkOwn refuses words that mean nothing.
func checkOwn(in mgs.OwnInputs) error {
	switch in.Recording {
	case "", mgs.RecordOn, mgs.RecordOff:
	default:
		return fmt.Errorf("ssmagent.recording is %.40q, it must be %q or %q", in.Recording, mgs.RecordOn, mgs.RecordOff)
	}
	switch in.WhenRecordingFails {
	case "", mgs.RecordContinue, mgs.RecordEnd:
	default:
		return fmt.Errorf("ssmagent.whenRecordingFails is %.40q, it must be %q or %q", in.WhenRecordingFails, mgs.RecordContinue, mgs.RecordEnd)
	}
	switch in.WindowsShell {
	case "", mgs.ShellPowerShell, mgs.ShellCmd:
	default:
		return fmt.Errorf("ssmagent.windowsShell is %.40q, it must be %q or %q", in.WindowsShell, mgs.ShellPowerShell, mgs.ShellCmd)
	}
	return nil
}
