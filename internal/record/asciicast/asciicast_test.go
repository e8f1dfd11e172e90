package asciicast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"ssmagent/internal/clock"
)

func header(t testing.TB) []byte {
	t.Helper()
	b, err := AppendHeader(nil, Header{Width: 80, Height: 24, Timestamp: 1700000000, Session: &Session{ID: "ada-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t testing.TB, b []byte) (all []Event) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var e Encoder
	b := header(t)
	b = e.Append(b, 0, Output, []byte("a\"\\\r\n\t\x1b[1m\x00\x7f"))
	b = e.Resize(b, 1234567*time.Microsecond, 100, 30)
	b = e.Append(b, 2*time.Second, Input, []byte("ls\r"))
	b = e.Mark(b, time.Second, "end") // the clock went back
	want := `{"version":2,"width":80,"height":24,"timestamp":1700000000,"ssmagent":{"session":"ada-1"}}
[0.000000, "o", "a\"\\\r\n\t\u001b[1m\u0000\u007f"]
[1.234567, "r", "100x30"]
[2.000000, "i", "ls\r"]
[2.000000, "m", "end"]
`
	if string(b) != want {
		t.Errorf("got\n%swant\n%s", b, want)
	}
	all := read(t, b)
	if c, r, err := all[1].Size(); err != nil || c != 100 || r != 30 {
		t.Errorf("size %d %d %v", c, r, err)
	}
}

// Characters of each length, cut at every byte, come out whole and in one
// event; what is no character becomes U+FFFD, and nothing around it suffers.
func TestCharactersAcrossFrames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"characters", "aé漢🙂z", "aé漢🙂z"},
		{"lone bytes", "a\xff\xfeb\x80c", "a\ufffd\ufffdb\ufffdc"},
		{"beginnings only", "\xe6\xbc", "\ufffd\ufffd"},
		{"a beginning, then another", "\xf0\x9f\x99é", "\ufffd\ufffd\ufffdé"},
		{"surrogates", "\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range len(tc.in) + 1 {
				for j := i; j <= len(tc.in); j++ {
					var e Encoder
					b := header(t)
					b = e.Append(b, 0, Output, []byte(tc.in[:i]))
					b = e.Append(b, 0, Input, []byte("\xe6")) // of its own
					b = e.Append(b, 0, Output, []byte(tc.in[i:j]))
					b = e.Resize(b, 0, 1, 1)
					b = e.Append(b, 0, Output, []byte(tc.in[j:]))
					b = e.Finish(b, 0)
					got := ""
					for _, ev := range read(t, b) {
						if ev.Kind == Output {
							got += ev.Data
						}
					}
					if got != tc.want {
						t.Fatalf("cut at %d and %d: %q, want %q", i, j, got, tc.want)
					}
				}
			}
		})
	}
}

func TestMuchAtOnce(t *testing.T) {
	t.Parallel()
	var e Encoder
	in := strings.Repeat("漢\x01", 400_000)
	b := e.Finish(e.Append(header(t), 0, Output, []byte(in)), 0)
	var got strings.Builder
	for _, ev := range read(t, b) {
		got.WriteString(ev.Data)
	}
	if got.String() != in {
		t.Error("it does not come back")
	}
}

func TestHostileRecordings(t *testing.T) {
	t.Parallel()
	h := string(header(t))
	for name, tc := range map[string]struct{ text, want string }{
		"empty":         {"", "empty"},
		"no JSON":       {"hello\n", "header"},
		"version 1":     {`{"version":1,"width":80,"height":24}` + "\n", "version 1"},
		"no terminal":   {`{"version":2,"width":0,"height":24}` + "\n", "terminal"},
		"long line":     {h + "[" + strings.Repeat(" ", MaxLine) + "]\n", "more than"},
		"two members":   {h + "[1,\"o\"]\n", "three members"},
		"negative time": {h + "[-1,\"o\",\"\"]\n", "time"},
		"endless time":  {h + "[1e300,\"o\",\"\"]\n", "time"},
		"no text":       {h + "[1,\"o\",7]\n", "data"},
		"torn":          {h + "[1,\"o\",\"whole\"]\n[2,\"o\",\"to", ErrTorn.Error()},
		"torn header":   {h[:len(h)-1], ErrTorn.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := NewReader(strings.NewReader(tc.text))
			for err == nil {
				_, err = r.Next()
			}
			if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, err := AppendHeader(nil, Header{Width: 80, Height: 70000}); err == nil {
		t.Error("an impossible terminal was taken")
	}
}

// stamped notes when something was written.
type stamped struct {
	start time.Time
	got   []string
}

func (s *stamped) Write(b []byte) (int, error) {
	s.got = append(s.got, time.Since(s.start).String()+" "+string(b))
	return len(b), nil
}

func TestPlay(t *testing.T) {
	t.Parallel()
	text := string(header(t)) + `[0.5,"o","a"]` + "\n" + `[1.0,"r","9x9"]` + "\n" + `[1.5,"o","b"]` + "\n" + `[101.5,"o","c"]` + "\n"
	for _, tc := range []struct {
		name string
		pace Pace
		want string
	}{
		{"as it was", Pace{Speed: 1}, "500ms a 1.5s b 1m41.5s c"},
		{"twice as fast", Pace{Speed: 2}, "250ms a 750ms b 50.75s c"},
		{"no long waits", Pace{Speed: 1, Idle: 2 * time.Second}, "500ms a 1.5s b 3.5s c"},
		{"at once", Pace{}, "0s a 0s b 0s c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := NewReader(strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				s := &stamped{start: time.Now()}
				if err := Play(t.Context(), r, s, clock.Real{}, tc.pace); err != nil || strings.Join(s.got, " ") != tc.want {
					t.Errorf("%q, %v", s.got, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		r, _ := NewReader(strings.NewReader(text))
		if err := Play(ctx, r, &stamped{}, clock.Real{}, Pace{Speed: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("interrupted: %v", err)
		}
	})
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"lines", "a\r\nb\r\n", "a\nb\n"},
		{"no end", "a", "a\n"},
		{"colours", "\x1b[31;1mred\x1b[0m\n", "red\n"},
		{"rubbed out", "lx\b \bs\n", "ls\n"},
		{"progress", "10%\r20%\r100%\n", "100%\n"},
		{"erased", "secret\r\x1b[Kpublic\n", "public\n"},
		{"inserted by the shell", "ech hi\x1b[3D\x1b[1@o\n", "echo hi\n"},
		{"deleted", "abcd\x1b[3D\x1b[2P\n", "ad\n"},
		{"moved", "a\x1b[5Gb\x1b[1Cc\td\n", "a   b c d\n"},
		{"title", "\x1b]0;title\x07a\x1b]2;t\x1b\\b\n", "ab\n"},
		{"broken title", "\x1b]0;title\x1b[1mx\n", "x\n"},
		{"charsets and keypad", "\x1b(B\x1b=a\x1b>\n", "a\n"},
		{"vi", "$ vi\r\n\x1b[?1049h\x1b[2J\x1b[Htext~~~\n\x1b[?1049l$ \n", "$ vi\n$\n"},
		{"screen cleared", "before\x1b[2J\x1b[Hafter", "before\nafter\n"},
		{"erase below", "ab\x1b[J\n", "ab\n"},
		{"wide", "漢字🙂\n", "漢字🙂\n"},
		{"control in a sequence", "a\x1b[\b1Kb\n", "b\n"},
		{"unknown", "\x1b[>4;2m\x1b[<u\x1b[?2004ha\x1b[ q\n", "a\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for cut := range len(tc.in) + 1 { // whatever comes together
				var b bytes.Buffer
				tr := NewTranscript(&b)
				_, _ = tr.Write([]byte(tc.in[:cut]))
				_, _ = tr.Write([]byte(tc.in[cut:]))
				if err := tr.Close(); err != nil || b.String() != tc.want {
					t.Fatalf("cut at %d: %q, %v; want %q", cut, b.String(), err, tc.want)
				}
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add(append(header(f), "[0.5, \"o\", \"a\\u001b[31m\"]\n[1, \"r\", \"80x24\"]\n"...))
	f.Add([]byte("{\"version\":2,\"width\":1,\"height\":1}\n[1e9,\"i\",\"\\ud800\"]\n["))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		var e Encoder
		again := header(t)
		var last time.Duration
		for {
			ev, err := r.Next()
			if err != nil {
				break
			}
			if ev.At < last || ev.At > maxTime {
				t.Fatalf("at %v after %v", ev.At, last)
			}
			last = ev.At
			again = e.Append(again, ev.At, Output, []byte(ev.Data))
		}
		read(t, e.Finish(again, last))
		if r, err = NewReader(bytes.NewReader(b)); err == nil {
			_ = Text(r, io.Discard)
		}
	})
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("a\xffé\x1b"), 2)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		cut = min(max(cut, 0), len(data))
		var e Encoder
		b := e.Append(header(t), 0, Output, data[:cut])
		b = e.Finish(e.Append(b, 0, Output, data[cut:]), 0)
		if !utf8.Valid(b) {
			t.Fatal("no UTF-8")
		}
		var got string
		for _, ev := range read(t, b) {
			got += ev.Data
		}
		var want string
		std, _ := json.Marshal(string(data))
		if json.Unmarshal(std, &want) != nil || got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte("\x1b[1;1Ha\x1b]0;x\x07\x1b[99999@\x1b[?1049h"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr := NewTranscript(io.Discard)
		_, _ = tr.Write(b)
		if len(tr.line) > 3*maxCells || len(tr.seq) > 2*maxSequence {
			t.Fatalf("holds %d cells, %d bytes", len(tr.line), len(tr.seq))
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkEncoder(b *testing.B) {
	data := []byte(strings.Repeat("total 0\r\ndrwxr-xr-x 2 root root\x1b[01;34mdir\x1b[0m\r\n", 600))
	var e Encoder
	out := make([]byte, 0, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out = e.Append(out[:0], 0, Output, data)
	}
}
