package sessions

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/wire/ssm"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.document("Doc", `{"schemaVersion":"1.0","sessionType":"Standard_Stream"}`)
	var ids []string
	for n := range 5 {
		c, body := ada, `{"Target":"web"}`
		switch n {
		case 1:
			c = eve
		case 2:
			body = `{"Target":"db"}`
		case 3:
			body = `{"Target":"web","DocumentName":"Doc"}`
		}
		ids = append(ids, l.startWith(c, body).SessionId)
		l.clock.Advance(time.Second)
	}
	if err := l.TaskComplete(nodeA, done(ids[0], "Success", "")); err != nil {
		t.Fatal(err)
	}
	idsOf := func(list []ssm.Session) (out []string) {
		for _, s := range list {
			out = append(out, s.SessionId)
		}
		return out
	}
	at := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339) }
	for _, tc := range []struct {
		state   string
		filters []string
		want    []int
	}{
		{ssm.SessionsActive, nil, []int{4, 3, 2, 1}},
		{ssm.SessionsHistory, nil, []int{0}},
		{ssm.SessionsActive, []string{"Owner", eve.ARN}, []int{1}},
		{ssm.SessionsActive, []string{"Target", nodeB}, []int{2}},
		{ssm.SessionsActive, []string{"DocumentName", "Doc"}, []int{3}},
		{ssm.SessionsActive, []string{"SessionId", ids[2]}, []int{2}},
		{ssm.SessionsActive, []string{"Status", "Connecting"}, []int{4, 3, 2, 1}},
		{ssm.SessionsActive, []string{"Status", "Connected"}, nil},
		{ssm.SessionsHistory, []string{"Status", "Terminated"}, []int{0}},
		{ssm.SessionsActive, []string{"AccessType", "Standard"}, []int{4, 3, 2, 1}},
		{ssm.SessionsActive, []string{"AccessType", "JustInTime"}, nil},
		{ssm.SessionsActive, []string{"InvokedAfter", at(3 * time.Second)}, []int{4, 3}},
		{ssm.SessionsActive, []string{"InvokedBefore", at(3 * time.Second)}, []int{2, 1}},
		{ssm.SessionsActive, []string{"InvokedAfter", at(2 * time.Second), "InvokedBefore", at(4 * time.Second), "Target", nodeA}, []int{3}},
	} {
		var want []string
		for _, n := range tc.want {
			want = append(want, ids[n])
		}
		if got := idsOf(l.list(tc.state, tc.filters...)); !slices.Equal(got, want) {
			t.Errorf("%s %v: %v, want %v", tc.state, tc.filters, got, want)
		}
	}
	// Pages of one, while sessions come and go.
	var got []string
	in := ssm.DescribeSessionsInput{State: ssm.SessionsActive, MaxResults: 1}
	for {
		out, err := l.DescribeSessions(t.Context(), ada, in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, idsOf(out.Sessions)...)
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
		if len(got) == 1 {
			l.start()
		}
	}
	if want := []string{ids[4], ids[3], ids[2], ids[1]}; !slices.Equal(got, want) {
		t.Errorf("pages: %v, want %v", got, want)
	}
}

func TestDescribeRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for body, want := range map[string]string{
		`{}`:                                  "ValidationException",
		`{"State":"Other"}`:                   "ValidationException",
		`{"State":"Active","MaxResults":0}`:   "ValidationException",
		`{"State":"Active","MaxResults":201}`: "ValidationException",
		`{"State":"Active","Filters":[]}`:     "ValidationException",
		`{"State":"Active","Filters":[{"Key":"Owner","Value":"x"}]}`:                                "ValidationException",
		`{"State":"Active","Filters":[{"key":"Colour","value":"x"}]}`:                               "InvalidFilterKey",
		`{"State":"Active","Filters":[{"key":"Status","value":"x"}]}`:                               "ValidationException",
		`{"State":"Active","Filters":[{"key":"AccessType","value":"x"}]}`:                           "ValidationException",
		`{"State":"Active","Filters":[{"key":"InvokedAfter","value":"yesterday"}]}`:                 "ValidationException",
		`{"State":"Active","Filters":[{"key":"Owner","value":"` + strings.Repeat("x", 401) + `"}]}`: "ValidationException",
		`{"State":"Active","NextToken":"x"}`:                                                        "InvalidNextToken",
	} {
		if _, err := invoke[ssm.DescribeSessionsOutput](l, ada, "DescribeSessions", body); code(err) != want {
			t.Errorf("%.100s: %v", body, err)
		}
	}
}
