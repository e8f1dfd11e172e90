package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/logs"
)

// lab is a log store under a clock that stands still.
type lab struct {
	*Service
	clock *clock.Fake
	db    *store.DB
	ctx   func() testing.TB
}

func newLab(t testing.TB, rate int) *lab {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l := &lab{clock: clock.NewFake(time.UnixMilli(1_800_000_000_000)), db: db, ctx: func() testing.TB { return t }}
	l.Service, err = New(Options{DB: db, Clock: l.clock, Log: slog.New(slog.DiscardHandler), Region: "eu-west-1", Account: "111122223333", PutRate: rate})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// call makes a call; the error is its code.
func call[Out any](l *lab, op string, in any) (out Out, code string) {
	t := l.ctx()
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	v, err := l.Ops()[wire.TargetPrefix+"."+op].Handle(t.Context(), api.Caller{Kind: api.Operator}, b)
	if e := (*api.Error)(nil); errors.As(err, &e) {
		return out, e.Code
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.(Out), ""
}

func (l *lab) put(stream string, events ...wire.InputEvent) string {
	_, code := call[wire.PutLogEventsOutput](l, wire.OpPutLogEvents, wire.PutLogEventsInput{LogGroupName: "/lab", LogStreamName: stream, LogEvents: events, SequenceToken: "any"})
	return code
}

func (l *lab) make(streams ...string) {
	if _, code := call[wire.Empty](l, wire.OpCreateLogGroup, wire.CreateLogGroupInput{LogGroupName: "/lab"}); code != "" {
		l.ctx().Fatal(code)
	}
	for _, s := range streams {
		if _, code := call[wire.Empty](l, wire.OpCreateLogStream, wire.LogStreamInput{LogGroupName: "/lab", LogStreamName: s}); code != "" {
			l.ctx().Fatal(code)
		}
	}
}

// TestGroupsAndStreams: making, listing in pages, deleting with all events.
func TestGroupsAndStreams(t *testing.T) {
	t.Parallel()
	l := newLab(t, 0)
	l.make("b", "a", "ab")
	now := l.now()
	for i, s := range []string{"a", "b"} {
		if code := l.put(s, wire.InputEvent{Timestamp: now + int64(i), Message: "m"}); code != "" {
			t.Fatal(code)
		}
	}
	for _, v := range []struct {
		in   wire.DescribeLogStreamsInput
		want string
	}{
		{wire.DescribeLogStreamsInput{}, "a ab b"}, {wire.DescribeLogStreamsInput{Descending: true}, "b ab a"}, {wire.DescribeLogStreamsInput{Prefix: "a"}, "a ab"},
		{wire.DescribeLogStreamsInput{OrderBy: "LastEventTime", Descending: true}, "b a ab"},
	} {
		for size := 1; size < 4; size++ {
			var got []string
			v.in.LogGroupName, v.in.Limit, v.in.NextToken = "/lab", size, ""
			for more := true; more; more = v.in.NextToken != "" {
				out, code := call[wire.DescribeLogStreamsOutput](l, wire.OpDescribeLogStreams, v.in)
				if code != "" {
					t.Fatal(code)
				}
				for _, s := range out.LogStreams {
					got = append(got, s.LogStreamName)
				}
				v.in.NextToken = out.NextToken
			}
			if strings.Join(got, " ") != v.want {
				t.Errorf("%+v: %q", v, got)
			}
		}
	}
	out, _ := call[wire.DescribeLogGroupsOutput](l, wire.OpDescribeLogGroups, wire.DescribeLogGroupsInput{Pattern: "LA"})
	if len(out.LogGroups) != 1 || out.LogGroups[0].StoredBytes != 2*27 || out.LogGroups[0].ARN != "arn:aws:logs:eu-west-1:111122223333:log-group:/lab:*" {
		t.Errorf("%+v", out)
	}
	for _, v := range []struct {
		op   string
		in   any
		want string
	}{
		{wire.OpCreateLogGroup, wire.CreateLogGroupInput{LogGroupName: "/lab"}, wire.CodeExists},
		{wire.OpCreateLogGroup, wire.CreateLogGroupInput{LogGroupName: "a b"}, api.CodeValidation},
		{wire.OpCreateLogStream, wire.LogStreamInput{LogGroupName: "/lab", LogStreamName: "a"}, wire.CodeExists},
		{wire.OpCreateLogStream, wire.LogStreamInput{LogGroupName: "/lab", LogStreamName: "a:b"}, api.CodeValidation},
		{wire.OpCreateLogStream, wire.LogStreamInput{LogGroupName: "/none", LogStreamName: "a"}, wire.CodeNotFound},
	} {
		if _, code := call[wire.Empty](l, v.op, v.in); code != v.want {
			t.Errorf("%+v: %s", v, code)
		}
	}
	if _, code := call[wire.Empty](l, wire.OpDeleteLogGroup, wire.LogGroupInput{LogGroupName: "/lab"}); code != "" {
		t.Fatal(code)
	}
	left := 0
	if err := l.db.View(func(tx *store.Tx) error {
		return events.Scan(tx, "", "", func(string, event) (bool, error) { left++; return true, nil })
	}); err != nil || left != 0 {
		t.Errorf("%d events are left, %v", left, err)
	}
}

// TestPutLimits: what AWS refuses is refused, in its words.
func TestPutLimits(t *testing.T) {
	t.Parallel()
	l := newLab(t, 0)
	l.make("s")
	now := l.now()
	big := strings.Repeat("x", wire.MaxBatch/2)
	for i, v := range []struct {
		events []wire.InputEvent
		want   string
	}{
		{nil, api.CodeValidation}, {[]wire.InputEvent{{Timestamp: now, Message: ""}}, api.CodeValidation},
		{[]wire.InputEvent{{Timestamp: now, Message: "b"}, {Timestamp: now - 1, Message: "a"}}, wire.CodeInvalid},
		{[]wire.InputEvent{{Timestamp: now - 25*3600_000, Message: "b"}, {Timestamp: now, Message: "a"}}, wire.CodeInvalid},
		{[]wire.InputEvent{{Timestamp: now, Message: big}, {Timestamp: now, Message: big}}, wire.CodeInvalid},
		{[]wire.InputEvent{{Timestamp: -1, Message: "x"}}, wire.CodeInvalid},
		{[]wire.InputEvent{{Timestamp: now, Message: big}, {Timestamp: now, Message: "x"}}, ""},
	} {
		if code := l.put("s", v.events...); code != v.want {
			t.Errorf("%d: %q, want %q", i, code, v.want)
		}
	}
	out, code := call[wire.PutLogEventsOutput](l, wire.OpPutLogEvents, wire.PutLogEventsInput{LogGroupName: "/lab", LogStreamName: "s",
		LogEvents: []wire.InputEvent{{Timestamp: now + 3_000_000, Message: "soon"}, {Timestamp: now + 3*3600_000, Message: "too new"}}})
	if code != "" || out.Rejected == nil || out.Rejected.TooOldEnd != nil || *out.Rejected.TooNewStart != 1 {
		t.Errorf("%+v %s", out, code)
	}
	slow := newLab(t, 3)
	slow.make("s")
	var codes []string
	for range 5 {
		codes = append(codes, slow.put("s", wire.InputEvent{Timestamp: now, Message: "m"}))
	}
	slow.clock.Advance(time.Second / 2)
	codes = append(codes, slow.put("s", wire.InputEvent{Timestamp: now, Message: "m"}))
	if want := []string{"", "", "", wire.CodeThrottled, wire.CodeThrottled, ""}; !slices.Equal(codes, want) {
		t.Errorf("%q", codes)
	}
}

// TestReading: pages in both directions hold the stream, whatever their size,
// and filtered ones the streams in the order of time.
func TestReading(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1_000_000)
	rapid.Check(t, func(r *rapid.T) {
		l.make("a", "b")
		defer func() {
			if _, code := call[wire.Empty](l, wire.OpDeleteLogGroup, wire.LogGroupInput{LogGroupName: "/lab"}); code != "" {
				r.Fatal(code)
			}
		}()
		now := l.now()
		var all []string
		want, batches := map[string][]string{}, map[string][]wire.InputEvent{}
		n, size := rapid.IntRange(0, 12).Draw(r, "events"), rapid.IntRange(1, 5).Draw(r, "page")
		times := rapid.SliceOfN(rapid.Int64Range(0, 4), n, n).Draw(r, "times")
		slices.Sort(times)
		for i, ms := range times {
			s := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "stream")
			m := fmt.Sprintf("%d %s %02d", ms, s, i)
			want[s], all = append(want[s], m), append(all, m)
			batches[s] = append(batches[s], wire.InputEvent{Timestamp: now + ms, Message: m})
		}
		for s, b := range batches {
			if code := l.put(s, b...); code != "" {
				r.Fatal(code)
			}
		}
		slices.Sort(all) // time, stream, number
		for _, s := range []string{"a", "b"} {
			for _, head := range []bool{true, false} {
				if got := readAll(r, l, s, head, size); !slices.Equal(got, want[s]) {
					r.Fatalf("%s from head %v: %q, want %q", s, head, got, want[s])
				}
			}
		}
		var got []string
		for in := (wire.FilterLogEventsInput{LogGroupName: "/lab", Limit: size}); ; {
			out, code := call[wire.FilterLogEventsOutput](l, wire.OpFilterLogEvents, in)
			if code != "" {
				r.Fatal(code)
			}
			for _, e := range out.Events {
				got = append(got, e.Message)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			r.Fatalf("filtered: %q, want %q", got, all)
		}
	})
}

func readAll(r *rapid.T, l *lab, stream string, head bool, size int) (got []string) {
	in := wire.GetLogEventsInput{LogGroupName: "/lab", LogStreamName: stream, StartFromHead: head, Limit: size}
	for {
		out, code := call[wire.GetLogEventsOutput](l, wire.OpGetLogEvents, in)
		if code != "" {
			r.Fatal(code)
		}
		var page []string
		for _, e := range out.Events {
			page = append(page, e.Message)
		}
		next := out.NextBackwardToken
		if head {
			got, next = append(got, page...), out.NextForwardToken
		} else {
			got = append(page, got...)
		}
		if next == in.NextToken || len(page) == 0 && in.NextToken != "" {
			if next != in.NextToken {
				r.Fatal("the end has another token")
			}
			return got
		}
		in.NextToken = next
	}
}

func TestFilterPattern(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true}, {"a b", "b a", true}, {"a b", "a", false}, {`"a b"`, "xa bx", true}, {`"a b"`, "b a", false}, {"-a", "b", true}, {"-a", "a", false},
		{"?a ?b", "b", true}, {"?a ?b", "c", false}, {`x ?"a b"`, "x a b", true},
	} {
		f, err := compile(v.pattern)
		if err != nil || f(v.message) != v.want {
			t.Errorf("%+v: %v", v, err)
		}
	}
	for _, p := range []string{`{ $.a = 1 }`, "[a]", `"open`, "%re%"} {
		if _, err := compile(p); err == nil {
			t.Errorf("%s is taken", p)
		}
	}
}

// FuzzCalls: no request breaks the service, and each refusal is one.
func FuzzCalls(f *testing.F) {
	l := newLab(f, 1_000_000)
	l.make("s")
	for i, op := range []string{wire.OpPutLogEvents, wire.OpGetLogEvents, wire.OpFilterLogEvents, wire.OpDescribeLogStreams, wire.OpDescribeLogGroups} {
		f.Add(i, []byte(`{"logGroupName":"/lab","logStreamName":"s"}`))
		f.Add(i, []byte(`{"logGroupName":"/lab","logStreamName":"s","logEvents":[{"timestamp":1800000000000,"message":"m"}],"nextToken":"b/0","filterPattern":"?\"`+op+`"}`))
	}
	names := []string{wire.OpPutLogEvents, wire.OpGetLogEvents, wire.OpFilterLogEvents, wire.OpDescribeLogStreams, wire.OpDescribeLogGroups}
	f.Fuzz(func(t *testing.T, op int, body []byte) {
		_, err := l.Ops()[wire.TargetPrefix+"."+names[((op%5)+5)%5]].Handle(t.Context(), api.Caller{Kind: api.Operator}, body)
		var e *api.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no refusal", err)
		}
	})
}
