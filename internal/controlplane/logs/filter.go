package logs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	wire "ssmagent/internal/wire/logs"
)

// found is an event with its place among those of all streams: time, stream,
// number.
type found struct {
	position string // of the event in its stream
	stream   string
	event
}

func (f found) compare(g found) int {
	return cmp.Or(strings.Compare(f.position[:16], g.position[:16]), strings.Compare(f.stream, g.stream), strings.Compare(f.position, g.position))
}

// gather keeps the first events of those that it is given.
type gather struct {
	limit int
	all   []found
	bytes int
	cut   bool   // there are others
	bound string // none of a later time belongs to the first
}

func (g *gather) add(f found) {
	g.all = append(g.all, f)
	if g.bytes += len(f.Message) + wire.EventOverhead; len(g.all) > 2*g.limit || g.bytes > 2*maxPage {
		g.settle()
	}
}

// settle brings the events in order and drops what is over the limits.
func (g *gather) settle() {
	slices.SortFunc(g.all, found.compare)
	g.bytes = 0
	for i, f := range g.all {
		size := len(f.Message) + wire.EventOverhead
		if i == g.limit || i > 0 && g.bytes+size > maxPage {
			g.all, g.cut, g.bound = g.all[:i], true, g.all[i-1].position[:16]
			return
		}
		g.bytes += size
	}
}

// beyond says whether events from this position on are of no interest any more.
func (g *gather) beyond(position string) bool { return g.cut && position[:16] > g.bound }

func (s *Service) filterEvents(_ context.Context, _ api.Caller, in wire.FilterLogEventsInput) (out wire.FilterLogEventsOutput, err error) {
	if len(in.StreamNames) > 0 && in.StreamPrefix != "" {
		return out, api.Errorf(wire.CodeInvalid, "logStreamNames and logStreamNamePrefix exclude each other")
	}
	matches, err := compile(in.FilterPattern)
	if err != nil {
		return out, err
	}
	page := api.PageRequest{Op: wire.OpFilterLogEvents, Filters: []any{in.LogGroupName, in.StreamNames, in.StreamPrefix, in.StartTime, in.EndTime, in.FilterPattern}, Token: in.NextToken, Max: in.Limit, Default: maxCount}
	cursor, err := page.Cursor()
	if err != nil {
		return out, badToken()
	}
	var after found
	if cursor != "" {
		after.position, after.stream = cursor[:32], cursor[32:]
	}
	from, to := span(in.StartTime, in.EndTime)
	g := gather{limit: page.Size()}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		if err := needGroup(tx, in.LogGroupName); err != nil {
			return err
		}
		base := streamKey(in.LogGroupName, "")
		return streams.Scan(tx, base+in.StreamPrefix, "", func(key string, st stream) (bool, error) {
			name := key[len(base):]
			if len(in.StreamNames) > 0 && !slices.Contains(in.StreamNames, name) {
				return true, nil
			}
			begin := from
			if cursor != "" { // events of the same time may come from later streams
				begin = max(from, after.position[:16]+strings.Repeat("0", 16))
			}
			return true, events.Scan(tx, st.ID+"\x00", st.ID+"\x00"+begin, func(key string, e event) (bool, error) {
				f := found{key[len(st.ID)+1:], name, e}
				if f.position >= to || g.beyond(f.position) {
					return false, nil
				}
				if (cursor == "" || f.compare(after) > 0) && matches(e.Message) {
					g.add(f)
				}
				return true, nil
			})
		})
	})
	if err != nil {
		return out, err
	}
	g.settle()
	out.Events = []wire.FilteredEvent{}
	for _, f := range g.all {
		out.Events = append(out.Events, wire.FilteredEvent{LogStreamName: f.stream, Timestamp: whenOf(f.position), Message: f.Message, IngestionTime: f.Ingested, EventID: f.position})
	}
	if g.cut {
		last := g.all[len(g.all)-1]
		out.NextToken = page.NextToken(last.position + last.stream)
	}
	return out, nil
}

// compile reads a pattern of terms: each must occur, one behind ? is one of
// several that may, one behind - must not; quotes hold blanks. Patterns for
// JSON and for columns are refused.
func compile(pattern string) (func(string) bool, error) {
	var all, some, none []string
	for rest := strings.TrimSpace(pattern); rest != ""; rest = strings.TrimLeftFunc(rest, unicode.IsSpace) {
		list := &all
		switch rest[0] {
		case '?':
			list, rest = &some, rest[1:]
		case '-':
			list, rest = &none, rest[1:]
		case '{', '[', '%':
			return nil, api.Errorf(wire.CodeInvalid, "filterPattern: only terms are understood here, no { }, [ ] or %% patterns")
		}
		var term string
		if strings.HasPrefix(rest, `"`) {
			var ok bool
			if term, rest, ok = strings.Cut(rest[1:], `"`); !ok {
				return nil, api.Errorf(wire.CodeInvalid, "Invalid filter pattern: a quote is not closed")
			}
		} else if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 {
			term, rest = rest[:i], rest[i:]
		} else {
			term, rest = rest, ""
		}
		*list = append(*list, term)
	}
	return func(message string) bool {
		has := func(term string) bool { return strings.Contains(message, term) }
		lacks := func(term string) bool { return !has(term) }
		return !slices.ContainsFunc(all, lacks) && !slices.ContainsFunc(none, has) && (len(some) == 0 || slices.ContainsFunc(some, has))
	}, nil
}
