package transcript

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"ssmagent/internal/fsys"
)

const (
	// markFile says how far a log was streamed while its session ran.
	markFile = "streamed.json"
	maxMark  = 4 << 10 // bytes
)

// mark is markFile. It is not synced: after a power cut a few lines may be
// streamed twice, but none is missing.
type mark struct {
	Sent int64
	User string // of the shell
}

func (l *Log) note() {
	b, err := json.Marshal(mark{Sent: l.sent, User: l.opt.User})
	if err == nil {
		err = fsys.WriteInPlace(l.opt.FS, filepath.Join(l.dir, markFile), b, false)
	}
	if err != nil {
		l.opt.Log.Warn("note how far the session was streamed", "error", err)
	}
}

// Reopen takes up the log of a session whose worker was lost. There is nothing
// to do with it but to Close it. fs.ErrNotExist: it has left none.
func Reopen(o Options) (*Log, error) {
	l := newLog(o)
	info, err := o.FS.Lstat(filepath.Join(l.dir, rawFile))
	if err != nil {
		return nil, fmt.Errorf("take up the session's log: %w", err)
	}
	l.written = info.Size()
	b, err := fsys.ReadFile(o.FS, filepath.Join(l.dir, markFile), maxMark)
	var m mark
	if err != nil || json.Unmarshal(b, &m) != nil || m.Sent < 0 || m.Sent > l.written {
		return l, nil // it was not streamed
	}
	l.sent, l.opt.User = m.Sent, m.User
	l.stream = o.Upload.Stream(o.Inputs.CloudWatchLogGroupName, o.SessionID)
	return l, nil
}
