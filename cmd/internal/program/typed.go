package program

import (
	"context"
	"sync"

	"ssmagent/internal/wire/mgs"
)

// typedMax is how much may wait that the session does not take, before no more
// is read from the person.
const typedMax = 1 << 20

// taker takes input; *client.Session.
type taker interface {
	Write(ctx context.Context, payloadType uint32, b []byte) error
	TryWrite(payloadType uint32, b []byte) (int, error)
}

// typed is what a person typed and the session has not taken yet. While the
// session takes all, put hands it on without a detour; when it does not, put
// goes on all the same, so that Enter ~ . works at any time.
type typed struct {
	to    taker
	guard func(func())

	mu   sync.Mutex
	free sync.Cond
	buf  []byte
	busy bool // a goroutine carries buf to the session
	err  error
}

func newTyped(to taker, guard func(func())) *typed {
	q := &typed{to: to, guard: guard}
	q.free.L = &q.mu
	return q
}

// put takes b, or returns why the session takes no more.
func (q *typed) put(ctx context.Context, b []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) > typedMax && q.err == nil {
		q.free.Wait()
	}
	if q.err != nil || len(b) == 0 {
		return q.err
	}
	if !q.busy {
		n, err := q.to.TryWrite(mgs.PayloadOutput, b)
		if err != nil {
			q.err = err
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		q.busy = true
		go q.guard(func() { q.carry(ctx) })
	}
	q.buf = append(q.buf, b...)
	return nil
}

// carry gives the session what waits until nothing does.
func (q *typed) carry(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) > 0 && q.err == nil {
		b := q.buf
		q.buf = nil
		q.free.Broadcast()
		q.mu.Unlock()
		err := q.to.Write(ctx, mgs.PayloadOutput, b)
		q.mu.Lock()
		q.err = err
	}
	q.busy = false
	q.free.Broadcast()
}
