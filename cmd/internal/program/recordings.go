package program

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/record/asciicast"
	"ssmagent/internal/record/recording"
	"ssmagent/internal/wire/mgs"
	"ssmagent/platform/tty"
)

// recordings is `ssm-cli recordings`.
func recordings(ctx context.Context, s streams, root string, args []string) int {
	p, err := pathsFor(root)
	if err != nil {
		return s.wrong(err)
	}
	store := recording.Store{FS: fileSystem(root), Dir: p.Recordings}
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	fs := flag.NewFlagSet("ssm-cli recordings "+word, flag.ContinueOnError)
	fs.SetOutput(s.out)
	switch word {
	case "list":
		if code, ok := parse(fs, args, 0); !ok {
			return code
		}
		err = listRecordings(s.out, store)
	case "play":
		speed := fs.Float64("speed", 1, "2 is twice as fast")
		idle := fs.Float64("idle", 0, "longest wait in seconds between two events, 0 for any")
		id, code, ok := parseID(fs, args)
		if !ok {
			return code
		}
		if !(*speed > 0 && *speed <= 1e6) || !(*idle >= 0 && *idle <= 1e9) {
			fmt.Fprintln(s.out, "error: -speed must be above 0 and -idle not below")
			return exitUsage
		}
		pace := asciicast.Pace{Speed: *speed, Idle: time.Duration(*idle * float64(time.Second))}
		err = useRecording(s, store, id, func(r *asciicast.Reader) error { return play(ctx, s, r, pace) })
	case "export":
		text := fs.Bool("text", false, "print plain lines")
		id, code, ok := parseID(fs, args)
		if !ok {
			return code
		}
		if *text {
			err = useRecording(s, store, id, func(r *asciicast.Reader) error { return asciicast.Text(r, s.out) })
		} else {
			err = copyRecording(s.out, store, id)
		}
	default:
		fmt.Fprintf(s.out, "%s\nerror: recordings list, play ID or export ID?\n", cliHelp)
		return exitUsage
	}
	if err != nil {
		return s.wrong(err)
	}
	return exitOK
}

// wrong says on standard output, as the stock program does, what went wrong.
func (s streams) wrong(err error) int {
	fmt.Fprintf(s.out, "error: %v\n", err)
	return exitCommand
}

// parseID takes flags before and behind one session id.
func parseID(fs *flag.FlagSet, args []string) (id string, code int, ok bool) {
	if code, ok = parse(fs, args, -1); !ok {
		return "", code, false
	}
	if fs.NArg() > 0 {
		id = strings.TrimSuffix(fs.Arg(0), ".cast")
		if code, ok = parse(fs, fs.Args()[1:], 0); !ok {
			return "", code, false
		}
	}
	if !mgs.ValidSessionID(id) {
		fmt.Fprintf(fs.Output(), "error: %s needs the id of a session; `ssm-cli recordings list` shows them\n", fs.Name())
		return "", exitUsage, false
	}
	return id, exitOK, true
}

// leaveScreen takes a terminal out of what an interrupted program left it in.
const leaveScreen = "\x1b[r\x1b[?1049l\x1b[?25h\x1b[?1l\x1b>\x1b[0m\r\n"

// play shows a recording. On a terminal its bytes go through untouched, as
// they did when they were recorded, and q or Ctrl-C ends it.
func play(ctx context.Context, s streams, r *asciicast.Reader, pace asciicast.Pace) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in, _ := s.in.(*os.File)
	out, _ := s.out.(*os.File)
	if !tty.IsTerminal(in) || !tty.IsTerminal(out) {
		return asciicast.Play(ctx, r, s.out, clock.Real{}, pace)
	}
	raw, err := tty.MakeRaw(in, out)
	if err != nil {
		return err
	}
	go func() { // ends with the program: a terminal that is read cannot be let go
		b := make([]byte, 64)
		for {
			n, err := raw.Read(b)
			if err != nil {
				return
			}
			if bytes.ContainsAny(b[:n], "qQ\x03") {
				stop()
			}
		}
	}()
	err = asciicast.Play(ctx, r, s.out, clock.Real{}, pace)
	if err != nil {
		fmt.Fprint(s.out, leaveScreen)
	}
	return errors.Join(err, raw.Restore())
}

func listRecordings(w io.Writer, store recording.Store) error {
	all, err := store.List()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SESSION\tSTARTED\tLENGTH\tBYTES\tUSER\tOWNER")
	for _, e := range all {
		h, err := store.Header(e.ID)
		if err != nil {
			fmt.Fprintf(t, "%s\t%s\t-\t%d\t-\t(%v)\n", e.ID, e.Changed.UTC().Format(time.RFC3339), e.Size, err)
			continue
		}
		if h.Session == nil {
			h.Session = new(asciicast.Session)
		}
		length, err := store.Length(e.ID)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%v\t%d\t%s\t%s\n", e.ID, time.Unix(h.Timestamp, 0).UTC().Format(time.RFC3339),
			length.Truncate(time.Second), e.Size, printable(h.Session.User), printable(h.Session.Owner))
	}
	return t.Flush()
}

// printable is text of a file that somebody else may have written, or "-".
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text
}

// useRecording hands a recording to use. One that ends in the midst of a line
// is no failure: its session is live or was lost.
func useRecording(s streams, store recording.Store, id string, use func(*asciicast.Reader) error) error {
	f, err := store.Open(id)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := asciicast.NewReader(f)
	if err != nil {
		return fmt.Errorf("the recording of %s: %w", id, err)
	}
	err = use(r)
	switch {
	case errors.Is(err, asciicast.ErrTorn):
		fmt.Fprintf(s.err, "\nssm-cli: %v\n", err)
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case err != nil:
		return fmt.Errorf("the recording of %s: %w", id, err)
	}
	return nil
}

func copyRecording(w io.Writer, store recording.Store, id string) error {
	f, err := store.Open(id)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("copy the recording of %s: %w", id, err)
	}
	return nil
}
