package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssmagent/internal/wire/ssm"
)

type inner struct {
	Name  string   `check:"required,min=2,max=4"`
	Lower string   `json:"lower" check:"enum=a|b"`
	Kinds []string `json:",omitempty" check:"min=1,max=2"`
}

type input struct {
	Count   int                 `json:",omitempty" check:"min=1,max=10"`
	On      bool                `json:",omitempty"`
	When    *ssm.Time           `json:",omitempty"`
	ID      string              `json:",omitempty" check:"re=managedId"`
	Inner   *inner              `json:",omitempty"`
	List    []inner             `json:",omitempty"`
	Map     map[string][]string `json:",omitempty" check:"max=2"`
	Raw     json.RawMessage     `json:",omitempty"`
	Needed  string              `check:"required"`
	Blob    []byte              `check:"min=1,max=2"`
	Version string              `json:",omitempty" check:"re=documentVersion"`
}

func TestStrict(t *testing.T) {
	t.Parallel()
	strict := Strict(func(_ context.Context, _ Caller, in input) (input, error) { return in, nil })
	lenient := Lenient(func(_ context.Context, _ Caller, in input) (input, error) { return in, nil })
	for _, tc := range []struct{ body, says, lenientSays string }{
		{`{"Needed":""}`, "", ""},
		{`{"Needed":"x","Count":1,"On":true,"When":1.5,"ID":"mi-0a1b2c3d4e5f60718","Inner":{"Name":"ab","lower":"b","Kinds":["k"]},"List":[{"Name":"abcd"}],"Map":{"a":["b"]},"Raw":{"x":[1]},"Version":"$LATEST"}`, "", ""},
		{`{"Needed":"x","Count":null,"Inner":null}`, "", ""},
		{`{}`, "Needed is required", "Needed is required"},
		{``, "Needed is required", "Needed is required"},
		{`{"Needed":null}`, "Needed is required", "Needed is required"},
		{`{"Needed":"x","Extra":1}`, "Extra is unknown", ""},
		{`{"Needed":"x","needed":"y"}`, "needed is unknown", ""},
		{`{"Needed":"x","Inner":{"Name":"ab","Lower":"a"}}`, "Inner.Lower is unknown", ""},
		{`{"Needed":1}`, "Needed must be a string, not the number", "Needed must be a string"},
		{`{"Needed":"x","Count":"7"}`, "Count must be a whole number, not a string", "Count must be"},
		{`{"Needed":"x","Count":1.5}`, "Count must be a whole number", "Count must be"},
		{`{"Needed":"x","Count":0}`, "Count is 0, needs 1 to 10", "Count is 0"},
		{`{"Needed":"x","Count":11}`, "Count is 11, needs 1 to 10", "Count is 11"},
		{`{"Needed":"x","Count":1e99}`, "Count must be a whole number", "Count must be"},
		{`{"Needed":"x","On":"true"}`, "On must be a boolean", "On must be"},
		{`{"Needed":"x","When":"yesterday"}`, "When is not valid", "When is not valid"},
		{`{"Needed":"x","ID":"mi-1"}`, `ID is "mi-1", needs mi- and 17`, `ID is "mi-1"`},
		{`{"Needed":"x","Inner":[]}`, "Inner must be an object, not a list", "Inner must be"},
		{`{"Needed":"x","Inner":{}}`, "Inner.Name is required", "Inner.Name is required"},
		{`{"Needed":"x","Inner":{"Name":"a"}}`, "Inner.Name has 1 characters, needs 2 to 4", "Inner.Name has 1"},
		{`{"Needed":"x","Inner":{"Name":"ab","lower":"c"}}`, `Inner.lower is "c", needs one of a, b`, "Inner.lower is"},
		{`{"Needed":"x","Inner":{"Name":"ab","Kinds":[]}}`, "Inner.Kinds has 0 elements", "Inner.Kinds has 0"},
		{`{"Needed":"x","List":[{"Name":"ab"},{"Name":5}]}`, "List[1].Name must be a string", "List[1].Name must"},
		{`{"Needed":"x","List":{}}`, "List must be a list, not an object", "List must be"},
		{`{"Needed":"x","List":[null]}`, "List[0] must be an object, not null", "List[0] must"},
		{`{"Needed":"x","Map":{"a":"b"}}`, "Map.a must be a list", "Map.a must"},
		{`{"Needed":"x","Map":{"a":[null]}}`, "Map.a[0] must be a string, not null", "Map.a[0] must"},
		{`{"Needed":"x","Map":{"a":[],"b":[],"c":[]}}`, "Map has 3 elements, needs at most 2", "Map has 3"},
		{`{"Needed":"x","Version":"0"}`, "Version is", "Version is"},
		{`{"Needed":"x","Blob":"YWI="}`, "", ""},
		{`{"Needed":"x","Blob":""}`, "Blob has 0 bytes, needs 1 to 2", "Blob has 0"},
		{`{"Needed":"x","Blob":"YWJj"}`, "Blob has 3 bytes, needs 1 to 2", "Blob has 3"},
		{`{"Needed":"x","Blob":"a!"}`, "Blob is not base64", "Blob is not"},
		{`{"Needed":"x","Blob":[1]}`, "Blob must be a string in base64, not a list", "Blob must be"},
		{`{"Count":0,"Extra":1}`, "3 validation errors detected", "2 validation errors"},
		{`[]`, "the body must be an object", "the body must be"},
		{`"x"`, "the body must be an object", "the body must be"},
		{`{`, "not JSON", "not JSON"},
		{`{} {}`, "not JSON", "not JSON"},
	} {
		for name, h := range map[string]Handler{"strict": strict, "lenient": lenient} {
			says := tc.says
			if name == "lenient" {
				says = tc.lenientSays
			}
			_, err := h(t.Context(), Caller{}, []byte(tc.body))
			var e *Error
			if says == "" && err != nil || says != "" && (!errors.As(err, &e) || !strings.Contains(e.Message, says) || e.HTTPStatus() != 400) {
				t.Errorf("%s %s: %v, want %q", name, tc.body, err, says)
			}
		}
	}
}

func TestConstraintsOfShapes(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		pattern string
		good    string
		bad     string
	}{
		{"concurrency", "1 50 9999999 1% 10% 100%", "0 0% 01 101% 99999999 x -1 1.5"},
		{"errors", "0 1 0% 9% 10% 100%", "101% 00 x -1 1.5% 010%"},
		{"documentVersion", "$LATEST $DEFAULT 1 42", "0 -1 LATEST latest 1.0 x"},
		{"instanceId", "i-01234567 i-0123456789abcdef0 mi-0123456789abcdef0", "mi-1 i-1 x mi-0123456789abcdef01"},
		{"documentName", "abc A-b_c.d", "ab a:b a/b ../../x " + strings.Repeat("n", 300)},
	} {
		for s := range strings.FieldsSeq(v.good) {
			if !Matches(v.pattern, s) {
				t.Errorf("%s does not take %q", v.pattern, s)
			}
		}
		for s := range strings.FieldsSeq(v.bad) {
			if Matches(v.pattern, s) {
				t.Errorf("%s takes %q", v.pattern, s)
			}
		}
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"Needed":"x","Inner":{"Name":"ab"},"List":[{"Name":"abcd"}],"Map":{"a":["b"]}}`))
	f.Add([]byte(`{"Count":1e400}`))
	strict := Strict(func(_ context.Context, _ Caller, in input) (input, error) { return in, nil })
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := strict(t.Context(), Caller{}, b)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no refusal", err)
		}
		if err == nil && (out.(input).Count < 0 || out.(input).Count > 10) {
			t.Fatalf("%+v got through", out)
		}
	})
}

// TestPages: whatever the page size, the pages together are the list, also
// when records come and go between them.
func TestPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfDistinct(rapid.StringN(0, 8, -1), rapid.ID[string]).Draw(t, "items")
		slices.Sort(items)
		p := PageRequest{Op: "List", Filters: []string{"f"}, Max: rapid.IntRange(0, 5).Draw(t, "max"), Default: 3}
		gone := rapid.IntRange(-1, len(items)).Draw(t, "gone")
		var got []string
		have := slices.Clone(items)
		for n := 0; ; n++ {
			page, next, err := Page(p, have, func(s string) string { return s })
			if err != nil || n > len(items)+1 || len(page) > max(p.Max, 3) {
				t.Fatalf("page %d: %q %v", n, page, err)
			}
			got = append(got, page...)
			if p.Token = next; next == "" {
				break
			}
			if n == 0 && gone >= 0 && gone < len(items) && slices.Contains(got, items[gone]) {
				have = slices.DeleteFunc(have, func(s string) bool { return s == items[gone] })
			}
		}
		if !slices.Equal(got, items) {
			t.Fatalf("pages hold %q, want %q", got, items)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	p := PageRequest{Op: "List", Max: 1}
	_, token, _ := Page(p, []string{"a", "b"}, func(s string) string { return s })
	f.Add(token)
	f.Add("garbage")
	f.Fuzz(func(t *testing.T, s string) {
		p := p
		p.Token = s
		if after, err := p.Cursor(); err == nil && s != "" && p.NextToken(after) != s {
			t.Fatalf("%q is taken", s)
		}
	})
}

func dispatcher(log *slog.Logger) *Dispatcher {
	all := []Kind{Anonymous, Operator}
	return &Dispatcher{Log: log, Verify: func(r *http.Request, _ []byte) (Caller, *Error) {
		switch r.Header.Get("Authorization") {
		case "":
			return Caller{}, nil
		case "op":
			return Caller{Kind: Operator}, nil
		}
		return Caller{}, Errorf("InvalidSignatureException", "wrong")
	}, Ops: Ops{
		"S.Echo":  {Allow: all, Handle: func(_ context.Context, _ Caller, b []byte) (any, error) { return json.RawMessage(b), nil }},
		"S.Nil":   {Allow: all, Handle: func(context.Context, Caller, []byte) (any, error) { return nil, nil }},
		"S.Panic": {Allow: all, Handle: func(context.Context, Caller, []byte) (any, error) { panic("secret cause") }},
		"S.Fail":  {Allow: all, Handle: func(context.Context, Caller, []byte) (any, error) { return nil, errors.New("secret cause") }},
		"S.Wrapped": {Allow: all, Handle: func(context.Context, Caller, []byte) (any, error) {
			return nil, fmt.Errorf("at home: %w", Errorf("Known", "it is known"))
		}},
		"S.Unwritable": {Allow: all, Handle: func(context.Context, Caller, []byte) (any, error) { return make(chan int), nil }},
		"S.Signed":     {Allow: []Kind{Operator}, Handle: func(context.Context, Caller, []byte) (any, error) { return nil, nil }},
		"S.NodesOnly":  {Allow: []Kind{Node}, Handle: func(context.Context, Caller, []byte) (any, error) { return nil, nil }},
	}}
}

func TestDispatcher(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv := httptest.NewServer(dispatcher(slog.New(slog.NewTextHandler(&log, nil))))
	t.Cleanup(srv.Close)
	for _, tc := range []struct {
		target, authorization string
		body                  io.Reader
		status                int
		want                  string
	}{
		{"S.Echo", "", strings.NewReader(`{"a":1}`), 200, `{"a":1}`},
		{"S.Echo", "", io.MultiReader(strings.NewReader(`{"chunked":`), strings.NewReader(`true}`)), 200, `{"chunked":true}`},
		{"S.Nil", "", nil, 200, `{}`},
		{"S.Panic", "", nil, 500, "InternalServerError"},
		{"S.Fail", "", nil, 500, "InternalServerError"},
		{"S.Unwritable", "", nil, 500, "InternalServerError"},
		{"S.Wrapped", "", nil, 400, `{"__type":"Known","message":"it is known"}`},
		{"S.Signed", "", nil, 400, "MissingAuthenticationTokenException"},
		{"S.Signed", "op", nil, 200, "{}"},
		{"S.Signed", "bad", nil, 400, "InvalidSignatureException"},
		{"S.NodesOnly", "op", nil, 400, "AccessDeniedException"},
		{"S.None", "", nil, 400, "UnknownOperationException"},
		{"", "", nil, 400, "UnknownOperationException"},
		{"S.Echo", "", bytes.NewReader(make([]byte, MaxBody+1)), 413, "RequestEntityTooLargeException"},
		{"S.Echo", "", io.MultiReader(bytes.NewReader(make([]byte, MaxBody+1))), 413, "RequestEntityTooLargeException"},
		{"S.CreateDocument", "", bytes.NewReader(make([]byte, MaxBody+1)), 400, "UnknownOperationException"},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, tc.body)
		r.Header.Set("X-Amz-Target", tc.target)
		if tc.authorization != "" {
			r.Header.Set("Authorization", tc.authorization)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", tc.target, err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || !strings.Contains(string(b), tc.want) || strings.Contains(string(b), "secret") {
			t.Errorf("%q: %d %s, want %d %s", tc.target, resp.StatusCode, b, tc.status, tc.want)
		}
		if len(resp.Header.Get("X-Amzn-RequestId")) != 36 || resp.Header.Get("Content-Type") != ssm.ContentType {
			t.Errorf("%q: headers %v", tc.target, resp.Header)
		}
	}
	srv.Close()
	if s := log.String(); strings.Count(s, "secret cause") < 2 || !strings.Contains(s, "stack=") {
		t.Errorf("the log lacks the causes:\n%s", s)
	}
}

func TestMayActFor(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		c  Caller
		ok bool
	}{
		{Caller{Kind: Operator}, true}, {Caller{Kind: Node, InstanceID: "mi-1"}, true}, {Caller{Kind: NodeKey, InstanceID: "mi-1"}, true},
		{Caller{Kind: Node, InstanceID: "mi-2"}, false}, {Caller{Kind: Node}, false}, {Caller{Kind: Anonymous}, false}, {Caller{Kind: Anonymous, InstanceID: "mi-1"}, false},
	} {
		if err := tc.c.MayActFor("mi-1"); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.c, err)
		}
	}
	if err := (Caller{Kind: Node}).MayActFor(""); err == nil {
		t.Error("a node without an id acts for the empty id")
	}
}
