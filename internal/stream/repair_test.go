package stream

import (
	"reflect"
	"testing"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"pgregory.net/rapid"
)

func TestRepairSpans(t *testing.T) {
	t.Parallel()
	var p Repair
	for _, s := range []int64{0, 1, 5, 3, 3, -1, 4, 7} {
		p.Saw(s)
	}
	want := [][2]int64{{0, 1}, {3, 5}, {7, 7}}
	if got := p.Spans(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var q Repair
	q.Restore([][2]int64{{0, 1}, {1, 2}, {-4, -2}, {9, 8}, {3, 5}, {7, 7}})
	if got := q.Spans(); !reflect.DeepEqual(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
	if _, ok := q.Passing(t0, msg(2, "x")); ok {
		t.Error("an acknowledgement was made up")
	}
	b, ok := q.Passing(t0, msg(4, "x"))
	m, err := frame.Unmarshal(b)
	if !ok || err != nil || m.Type != mgs.TypeAcknowledge {
		t.Errorf("no acknowledgement was made: %v", err)
	}
	for s := range int64(3 * maxSpans) {
		q.Saw(2 * s)
	}
	if len(q.spans) > maxSpans {
		t.Errorf("%d spans", len(q.spans))
	}
}

func TestRepairIsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p Repair
		seen := map[int64]bool{}
		for _, s := range rapid.SliceOf(rapid.Int64Range(0, 40)).Draw(t, "seen") {
			p.Saw(s)
			seen[s] = true
		}
		for s := range int64(42) {
			if _, ok := p.find(s); ok != seen[s] {
				t.Fatalf("%d: %v, want %v", s, ok, seen[s])
			}
		}
		for i, s := range p.spans {
			if s.last < s.first || i > 0 && s.first <= p.spans[i-1].last+1 {
				t.Fatalf("spans %v", p.spans)
			}
		}
	})
}
