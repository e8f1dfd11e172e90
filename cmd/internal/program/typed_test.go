package program

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// slow is a session that takes what it is told to.
type slow struct {
	mu   sync.Mutex
	try  int // bytes that TryWrite takes
	got  []byte
	open chan struct{} // Write waits for it
	err  error
}

func (s *slow) TryWrite(_ uint32, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(s.try, len(b))
	s.got = append(s.got, b[:n]...)
	return n, s.err
}

func (s *slow) Write(_ context.Context, _ uint32, b []byte) error {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, b...)
	return s.err
}

func (s *slow) taken() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.got)
}

func direct(f func()) { f() }

// TestTyped: order is kept between what goes straight on and what waits; put
// waits only when too much does.
func TestTyped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{try: 3, open: make(chan struct{})}
		q := newTyped(s, direct)
		for _, b := range []string{"abc", "defg", "h", "i"} {
			if err := q.put(t.Context(), []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.taken(); string(got) != "abcdef" {
			t.Errorf("taken %q", got)
		}
		synctest.Wait() // the first waiting byte is on its way
		big := make([]byte, typedMax)
		for _, b := range [][]byte{big, []byte("x")} {
			if err := q.put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		through := make(chan error, 1)
		go func() { through <- q.put(t.Context(), []byte("y")) }()
		synctest.Wait()
		if len(through) != 0 {
			t.Error("put takes without bound")
		}
		close(s.open)
		if err := <-through; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := s.taken(); !bytes.Equal(got, append(append([]byte("abcdefghi"), big...), "xy"...)) {
			t.Errorf("taken %d bytes", len(got))
		}
		s.err = errors.New("over")
		if err := q.put(t.Context(), []byte("z")); !errors.Is(err, s.err) {
			t.Errorf("got %v", err)
		}
		if err := q.put(t.Context(), []byte("z")); !errors.Is(err, s.err) {
			t.Errorf("got %v", err)
		}
	})
}
