package program

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

func TestLogView(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.log")
	for name, text := range map[string]string{".2": "one session=s-1 x=1\ntwo session=s-12\n", ".10": "three session=s-1\n", "": "four\nfive session=s-1\x1b[2J\n"} {
		if err := os.WriteFile(path+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		n     int
		words []string
		want  string
	}{
		{3, nil, "three session=s-1\nfour\nfive session=s-1?[2J\n"},
		{9, []string{" session=s-1 "}, "one session=s-1 x=1\nthree session=s-1\n"},
		{0, nil, ""},
	} {
		var b strings.Builder
		if err := (logView{&b, c.words}).show(t.Context(), path, c.n, false); err != nil || b.String() != c.want {
			t.Errorf("%d, %q: %q, %v", c.n, c.words, b.String(), err)
		}
	}
	if err := (logView{}).show(t.Context(), path+".none", 1, false); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// steps is a writer that does the next thing at each write.
type steps struct {
	strings.Builder
	next []func()
}

func (s *steps) Write(b []byte) (int, error) { return s.WriteString(string(b)) }

func (s *steps) WriteString(text string) (int, error) {
	n, err := s.Builder.WriteString(text)
	if len(s.next) > 0 {
		s.next[0]()
		s.next = s.next[1:]
	}
	return n, err
}

func TestLogIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.log")
	add := func(text string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	add("old\n")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &steps{next: []func(){
			func() { add("added\n") },
			func() {
				add("last of the file\n")
				if err := os.Rename(path, path+".1"); err != nil {
					t.Error(err)
				}
				add("first of the next\n")
			},
			func() {}, cancel,
		}}
		if err := (logView{out: out}).show(ctx, path, 1, true); err != nil {
			t.Error(err)
		}
		if got := out.String(); got != "old\nadded\nlast of the file\nfirst of the next\n" {
			t.Errorf("%q", got)
		}
	})
}
