package program

import (
	"context"
	"io"
	"sync"

	"ssmagent/internal/client"
	"ssmagent/internal/wire/mgs"
)

// connection is what a person has been told of a session's data channel. One
// that is back at once is not worth a line in the midst of somebody's work.
type connection struct {
	mu   sync.Mutex
	away bool
}

// hear takes news of it, and says which are to be told.
func (c *connection) hear(e client.Event) (lost, back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.away
	c.away = e.Kind == client.Retrying || was && e.Kind == client.Lost
	return c.away && !was, was && !c.away
}

// feed sends what in gives until that ends; false: the session ended first.
func feed(ctx context.Context, s *client.Session, in io.Reader) bool {
	buf := make([]byte, mgs.LargePayload)
	for {
		n, err := in.Read(buf)
		if n > 0 && s.Write(ctx, mgs.PayloadOutput, buf[:n]) != nil {
			return false
		}
		if err != nil {
			return true
		}
	}
}
