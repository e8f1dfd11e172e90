package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
)

// queue is a Queue with one job at a time, which tests end.
type queue struct {
	submitted chan job.Request
	over      chan struct{}
	err       error
	known     map[string]job.Summary
}

func (q *queue) Submit(_ context.Context, r job.Request) error {
	if q.err == nil {
		q.submitted <- r
	}
	return q.err
}

func (q *queue) Cancel(_ context.Context, id string) (bool, error) {
	_, ok := q.known[id]
	return ok, q.err
}

func (q *queue) List(_ context.Context, limit int) ([]job.Summary, error) {
	return make([]job.Summary, limit), q.err
}

func (q *queue) Show(_ context.Context, id string) (job.Summary, bool, error) {
	s, ok := q.known[id]
	return s, ok, q.err
}

func (q *queue) Over(id string) <-chan struct{} {
	if _, ok := q.known[id]; ok {
		return q.over
	}
	return nil
}

// bench is a server on a loopback socket with a client.
type bench struct {
	t *testing.T
	q *queue
	s *Server
	c Client
	// stop ends the server and waits for it.
	stop func()
}

func newBench(t *testing.T, check func(net.Conn) error) *bench {
	t.Helper()
	q := &queue{submitted: make(chan job.Request, 1), over: make(chan struct{}), known: map[string]job.Summary{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, q: q}
	b.s = New(Options{
		Path: "/ipc/agent", FS: fsystest.NewDisk(), Listen: func(string) (net.Listener, error) { return l, nil }, Check: check,
		Queue: q, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Orchestration: "/orchestration",
	})
	b.c = Client{Path: l.Addr().String(), Check: func(net.Conn) error { return nil }, Dial: func(ctx context.Context, path string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", path)
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.s.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func anybody(net.Conn) error { return nil }

// ask returns all lines of the answer.
func (b *bench) ask(r Request) (all []Answer, err error) {
	err = b.c.Ask(b.t.Context(), r, func(a Answer) error { all = append(all, a); return nil })
	return all, err
}

const twoSteps = `{"schemaVersion":"2.2","parameters":{"who":{"type":"String","allowedValues":["a","b"]}},"mainSteps":[
{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["echo {{who}}"]}},{"action":"aws:runShellScript","name":"two","inputs":{"runCommand":["true"]}}]}`

func TestRunTellsEachResultOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, anybody)
	one, two := doc.Result{ID: "one", Status: doc.Success}, doc.Result{ID: "two", Status: doc.Failed, Code: 3}
	done := make(chan struct{})
	var all []Answer
	var err error
	go func() {
		defer close(done)
		all, err = b.ask(Request{Run: &Document{Name: "d\x1b.json", Content: []byte(twoSteps), Parameters: map[string][]string{"who": {"a"}}}})
	}()
	r := <-b.q.submitted
	if r.Channel != Channel || r.DocumentName != "d?.json" || len(r.Steps) != 2 || r.Dir != filepath.Join("/orchestration", r.ID) {
		t.Errorf("%+v", r)
	}
	for _, rep := range [][]job.Report{
		{{Request: r, Result: &one, Results: []doc.Result{one}}},
		{{Request: r, Result: &two, Results: []doc.Result{one, two}}, {Request: r, Results: []doc.Result{one, two}, Final: true}},
	} {
		if err := b.s.Report(t.Context(), rep...); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if err != nil || len(all) != 4 || all[0].Accepted != r.ID || all[1].Result.ID != "one" || all[2].Result.ID != "two" || all[3].Ended != doc.Failed {
		t.Errorf("%v %+v", err, all)
	}
	b.stop()
	if len(b.s.watchers) != 0 {
		t.Errorf("watchers are left: %v", b.s.watchers)
	}
	if err := b.s.Report(t.Context(), job.Report{Request: r, Final: true}); err != nil {
		t.Errorf("nobody waits: %v", err)
	}
}

func TestCancelWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, anybody)
	b.q.known["it"] = job.Summary{ID: "it", Status: doc.Cancelled, Results: []doc.Result{{ID: "one"}}}
	done := make(chan struct{})
	var all []Answer
	var err error
	go func() {
		defer close(done)
		all, err = b.ask(Request{Cancel: "it"})
	}()
	close(b.q.over)
	<-done
	if err != nil || len(all) != 2 || all[0].Result.ID != "one" || all[1].Command.Status != doc.Cancelled {
		t.Errorf("%v %+v", err, all)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, anybody)
	for _, tc := range []struct {
		name string
		r    Request
		says string
	}{
		{"nothing", Request{}, "asks for one of"},
		{"two things", Request{Show: "a", Cancel: "b"}, "asks for one of"},
		{"too many", Request{List: MaxList + 1}, "not from 1"},
		{"unknown", Request{Show: "../../etc"}, "no command"},
		{"unknown to cancel", Request{Cancel: "x"}, "nothing to cancel"},
		{"no document", Request{Run: &Document{Content: []byte("{}")}}, "schema"},
		{"value that is not allowed", Request{Resolve: &Document{Content: []byte(twoSteps), Parameters: map[string][]string{"who": {"c"}}}}, "who"},
		{"value that is missing", Request{Run: &Document{Content: []byte(twoSteps)}}, "who"},
		{"parameter that is not declared", Request{Run: &Document{Content: []byte(twoSteps), Parameters: map[string][]string{"who": {"a"}, "what": {"x"}}}}, "what"},
		{"large document", Request{Run: &Document{Content: []byte(`{"x":"` + strings.Repeat("x", 2<<20))}}, "at most 1048576"},
	} {
		if _, err := b.ask(tc.r); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := readRequest(bufio.NewReader(io.MultiReader(strings.NewReader(`{"Show":"`), endless{}))); err == nil || !strings.Contains(err.Error(), "a line of more than") {
		t.Errorf("a request without end: %v", err)
	}
	b.q.err = job.ErrFull
	if _, err := b.ask(Request{Run: &Document{Content: []byte(twoSteps), Parameters: map[string][]string{"who": {"a"}}}}); err == nil || err.Error() != job.ErrFull.Error() {
		t.Errorf("full queue: %v", err)
	}
	if len(b.q.submitted) != 0 {
		t.Error("something was submitted")
	}
}

// endless is text without a line end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(net.Conn) error { return errors.New("user 7 may not do this") })
	if _, err := b.ask(Request{List: 1}); err == nil || !strings.Contains(err.Error(), "may not") {
		t.Error(err)
	}
	b.c.Check = func(net.Conn) error { return errors.New("user 8") }
	if _, err := b.ask(Request{List: 1}); err == nil || !strings.Contains(err.Error(), "is not the agent: user 8") {
		t.Error(err)
	}
	b.c.Dial = func(context.Context, string) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }
	if _, err := b.ask(Request{List: 1}); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// TestAnswerThatBreaksOff: an agent that ends, one that says nonsense.
func TestAnswerThatBreaksOff(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]string{"nothing": "", "half": `{"Done":tr`, "nonsense": "{]\n"} {
		here, there := net.Pipe()
		go func() {
			_, _ = io.ReadFull(there, make([]byte, 5))
			go func() { _, _ = io.Copy(io.Discard, there) }()
			_, _ = io.WriteString(there, said)
			_ = there.Close()
		}()
		c := Client{Check: anybody, Dial: func(context.Context, string) (net.Conn, error) { return here, nil }}
		err := c.Ask(t.Context(), Request{List: 1}, func(Answer) error { t.Errorf("%s: an answer", name); return nil })
		if err == nil || name != "nonsense" && !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerEndsWithItsClients: who says nothing holds nobody up.
func TestServerEndsWithItsClients(t *testing.T) {
	t.Parallel()
	b := newBench(t, anybody)
	for range maxClients + 1 { // one is turned away
		c, err := b.c.Dial(t.Context(), b.c.Path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	got, err := Parameters(`{"a":"x","b":["y","z"],"c":3,"d":true,"e":{"k":[1]},"f":[],"g":[1]}`)
	want := map[string][]string{"a": {"x"}, "b": {"y", "z"}, "c": {"3"}, "d": {"true"}, "e": {`{"k":[1]}`}, "f": {}, "g": {"[1]"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %q", err, got)
	}
	for _, bad := range []string{"", "[]", `"x"`, "{", `{"a":"` + strings.Repeat("x", 5<<20) + `"}`} {
		if _, err := Parameters(bad); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add(`{"a":"x","b":["y"],"c":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		values, err := Parameters(text)
		if err != nil {
			return
		}
		for name, v := range values {
			if v == nil {
				t.Errorf("%q has no values", name)
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"List":3}`))
	f.Add([]byte(`{"Run":{"Name":"d","Content":"e30=","Parameters":{"a":["b"]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if json.Unmarshal(b, &r) != nil || r.check() != nil {
			return
		}
		if d := r.Run; d != nil {
			if name := d.shown(); len(name) > maxName || strings.ContainsAny(name, "\x1b\n\x00") {
				t.Errorf("shown as %q", name)
			}
		}
	})
}
