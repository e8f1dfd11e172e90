package gateway

import (
	"container/list"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"ssmagent/internal/clock"
)

// tokenLife is the time between making a control channel and opening it;
// agents dial at once.
const tokenLife = 2 * time.Minute

// maxTokens bounds the tokens that were never used: the oldest go first.
const maxTokens = 16384

// tokens are for one use each. They live in memory only: an agent that finds
// its token gone makes another channel.
type tokens struct {
	clock clock.Clock
	mu    *sync.Mutex
	byKey map[string]*list.Element
	order *list.List // of token, the oldest first
}

type token struct {
	value, node string
	expires     time.Time
}

func newTokens(c clock.Clock) tokens {
	return tokens{clock: c, mu: new(sync.Mutex), byKey: map[string]*list.Element{}, order: list.New()}
}

func (t tokens) issue(node string) string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	v := token{base64.RawURLEncoding.EncodeToString(raw), node, t.clock.Now().Add(tokenLife)}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		old := e.Value.(token)
		if t.order.Len() < maxTokens && old.expires.After(t.clock.Now()) {
			break
		}
		t.remove(e)
	}
	t.byKey[v.value] = t.order.PushBack(v)
	return v.value
}

// redeem uses up a token and says whether it was good for the node.
func (t tokens) redeem(value, node string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byKey[value]
	if e == nil {
		return false
	}
	t.remove(e)
	v := e.Value.(token)
	return v.node == node && v.expires.After(t.clock.Now())
}

func (t tokens) remove(e *list.Element) {
	delete(t.byKey, e.Value.(token).value)
	t.order.Remove(e)
}
