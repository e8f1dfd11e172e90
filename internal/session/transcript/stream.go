package transcript

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/fsys"
	"ssmagent/internal/upload"
)

// Sizes of events, as stock agents make them.
const (
	maxEvent = 33_000  // bytes of lines in a structured event
	maxPlain = 200_000 // bytes of an event of a log that was not streamed
	perCall  = 4       // events
)

// sessionEvent is a streamed event.
type sessionEvent struct {
	EventVersion string `json:"eventVersion"`
	EventTime    string `json:"eventTime"`
	AwsRegion    string `json:"awsRegion"`
	Target       struct {
		ID string `json:"id"`
	} `json:"target"`
	UserIdentity struct {
		ARN string `json:"arn"`
	} `json:"userIdentity"`
	RunAsUser   string   `json:"runAsUser"`
	SessionID   string   `json:"sessionId"`
	SessionData []string `json:"sessionData"`
}

// Run streams what is written until ctx ends, at most once a second. What is
// left then is for Close.
func (l *Log) Run(ctx context.Context) {
	if l == nil || l.stream == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.dirty:
		}
		if backoff.Wait(ctx, l.opt.Clock, tick) != nil {
			return
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = l.push(ctx, false); err == nil {
				continue
			}
			if upload.Missing(err) {
				l.opt.Log.Warn("the session is not streamed to CloudWatch Logs any more", "error", err)
				l.over, l.stream = err, nil
				return
			}
			if ctx.Err() == nil {
				l.opt.Log.Warn("stream the session to CloudWatch Logs, will try again", "error", err)
				select {
				case l.dirty <- struct{}{}: // the same lines at the next tick
				default:
				}
			}
			more = false
		}
	}
}

// pushAll streams what is left, the unfinished last line too.
func (l *Log) pushAll(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = l.push(ctx, true); err != nil {
			return err
		}
	}
	return nil
}

// push streams the next lines. more: there are others. end: the last line
// counts without its end.
func (l *Log) push(ctx context.Context, end bool) (more bool, err error) {
	buffer, err := readAt(l.opt.FS, filepath.Join(l.dir, rawFile), l.sent, min(l.size()-l.sent, perCall*maxEvent))
	if err != nil {
		return false, err
	}
	end = end && l.sent+int64(len(buffer)) == l.size()
	var messages []string
	used := 0
	for len(messages) < perCall {
		lines, n := upload.Lines(buffer[used:], maxEvent, end)
		if n == 0 {
			break
		}
		b, err := l.event(lines)
		if err != nil {
			return false, err
		}
		messages, used = append(messages, b), used+n
	}
	if len(messages) == 0 {
		return false, nil
	}
	if err := l.stream.Put(ctx, messages...); err != nil {
		return false, err
	}
	l.sent += int64(used)
	l.note()
	return l.sent < l.size(), nil
}

func (l *Log) event(lines []byte) (string, error) {
	e := sessionEvent{EventVersion: "1.0", EventTime: l.opt.Clock.Now().UTC().Format(time.RFC3339), AwsRegion: l.opt.Region, RunAsUser: l.opt.User, SessionID: l.opt.SessionID}
	e.Target.ID, e.UserIdentity.ARN = l.opt.InstanceID, l.opt.Owner
	text := strings.NewReplacer("\t", " ", "\r", "").Replace(strings.ToValidUTF8(string(plain(lines)), "\uFFFD"))
	e.SessionData = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	b, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode a log event: %w", err)
	}
	return string(b), nil
}

// plain takes control sequences out of what a terminal was sent.
func plain(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == 0x1b:
			i += sequence(b[i:]) - 1
		case b[i] < 0x20 && b[i] != '\n' && b[i] != '\r' && b[i] != '\t', b[i] == 0x7f:
		default:
			out = append(out, b[i])
		}
	}
	return out
}

// sequence is the length of the escape sequence at the beginning of b; one that
// does not end goes to the line's end.
func sequence(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case '[': // parameters, and a letter
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
			if b[i] < 0x20 {
				return i
			}
		}
		return len(b)
	case ']', 'P', '_', '^', 'X': // a text, and BEL or ESC \
		for i := 2; i < len(b); i++ {
			switch {
			case b[i] == 0x07:
				return i + 1
			case b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\':
				return i + 2
			case b[i] == '\n':
				return i
			}
		}
		return len(b)
	case '\n', '\r', 0x1b:
		return 1
	case '(', ')', '*', '+', '#', '%', ' ':
		return min(3, len(b))
	}
	return 2
}

// toGroup puts the log into a stream once the session is over.
func (l *Log) toGroup(ctx context.Context) error {
	f, err := l.opt.FS.OpenFile(l.logFile(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	stream := l.opt.Upload.Stream(l.opt.Inputs.CloudWatchLogGroupName, l.opt.SessionID)
	buffer, rest, last := make([]byte, 2*maxPlain), 0, false
	for !last || rest > 0 {
		n, err := io.ReadFull(f, buffer[rest:])
		if last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !last {
			return err
		}
		rest += n
		var messages []string
		used := 0
		for len(messages) < perCall {
			part, n := upload.Lines(buffer[used:rest], maxPlain, last)
			if n == 0 {
				break
			}
			used += n
			if text := strings.ReplaceAll(strings.ToValidUTF8(string(part), "\uFFFD"), "\r\n", "\n"); text != "" {
				messages = append(messages, strings.TrimSuffix(text, "\n"))
			}
		}
		rest = copy(buffer, buffer[used:rest])
		if messages = filled(messages); len(messages) == 0 {
			continue
		}
		if err := stream.Put(ctx, messages...); err != nil {
			return err
		}
	}
	return nil
}

// filled drops messages without text, which the service does not take.
func filled(messages []string) []string {
	out := messages[:0]
	for _, m := range messages {
		if m != "" {
			out = append(out, m)
		}
	}
	return out
}

// readAt reads n bytes of a file from an offset on.
func readAt(f fsys.FS, name string, offset, n int64) ([]byte, error) {
	if n <= 0 {
		return nil, nil
	}
	r, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := r.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read the session's log: %w", err)
	}
	return b, nil
}
