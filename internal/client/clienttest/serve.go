package clienttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/seal"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

func (d *Double) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pings++
		return true
	}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(frame.MaxSize)
	_, b, err := conn.Read(context.Background())
	if err != nil {
		return
	}
	hello, err := mgs.Decode[mgs.OpenDataChannel](b)
	d.mu.Lock()
	if err != nil || !d.tokens[string(hello.TokenValue)] || d.closed {
		d.mu.Unlock()
		return
	}
	d.tokens[string(hello.TokenValue)] = false
	d.hellos = append(d.hellos, hello)
	if d.conn != nil {
		_ = d.conn.CloseNow()
	}
	for d.conn != nil {
		d.change.Wait()
	}
	d.conn = conn
	d.link.Resume(time.Now())
	d.change.Broadcast()
	d.wg.Add(1)
	d.mu.Unlock()
	stop := make(chan struct{})
	var writer sync.WaitGroup
	defer d.wg.Done()
	writer.Go(func() { d.write(conn, stop) })
	d.signal()
	d.read(conn)
	_ = conn.CloseNow()
	close(stop)
	writer.Wait()
	d.mu.Lock()
	d.conn = nil
	d.change.Broadcast()
	d.mu.Unlock()
}

func (d *Double) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Double) read(conn *websocket.Conn) {
	buf := make([]byte, frame.MaxSize+1)
	for {
		_, r, err := conn.Reader(context.Background())
		if err != nil {
			return
		}
		n := 0
		for err == nil {
			var k int
			k, err = r.Read(buf[n:])
			n += k
		}
		if !errors.Is(err, io.EOF) {
			return
		}
		m, err := frame.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		d.mu.Lock()
		d.largest = max(d.largest, len(m.Payload))
		if _, _, err := d.link.Handle(time.Now(), m); err == nil {
			d.answer()
		}
		d.change.Broadcast()
		d.mu.Unlock()
		d.signal()
	}
}

// answer deals with the client's side of the handshake.
func (d *Double) answer() {
	for !d.complete {
		t, p, ok := d.link.Next()
		if !ok {
			return
		}
		if t == mgs.PayloadEncChallengeResponse {
			d.proved(p)
			continue
		}
		if t != mgs.PayloadHandshakeResponse {
			if d.opt.Style == Stock {
				d.dropped++ // as stock agents do
				continue
			}
			d.held = &received{t, append([]byte(nil), p...)} // the size of a client of ours
			continue
		}
		r, err := mgs.Decode[mgs.HandshakeResponse](p)
		if err != nil {
			continue
		}
		d.response = &r
		if e, ours := mgs.DecodeExtension(r.Extensions); ours && d.opt.Style == Ours {
			_ = d.link.SetPayloadSize(min(e.MaxPayload, mgs.LargePayload))
		}
		switch {
		case d.opt.DataKey != nil:
			d.challenge()
		case !d.opt.HoldComplete:
			d.completeLocked()
		}
	}
}

// challenge has the client prove that it has the key.
func (d *Double) challenge() {
	for _, a := range d.response.ProcessedClientActions {
		if a.ActionStatus != mgs.ActionSuccess {
			return
		}
	}
	var err error
	if d.cipher, err = seal.ForAgent(d.opt.DataKey); err != nil {
		panic(err) // the test gave a bad key
	}
	d.link.SetCipher(d.cipher)
	plain := d.opt.Challenge
	if plain == nil {
		plain = make([]byte, seal.ChallengeSize)
	}
	_ = d.pushJSON(mgs.PayloadEncChallengeRequest, mgs.EncChallenge{Challenge: d.cipher.Seal(nil, plain)})
}

func (d *Double) proved(p []byte) {
	r, err := mgs.Decode[mgs.EncChallenge](p)
	if err == nil {
		d.proof, err = d.cipher.Open(r.Challenge)
	}
	if err == nil && len(d.proof) == seal.ChallengeSize && !d.opt.HoldComplete {
		d.completeLocked()
	}
}

// Seal seals as the agent does, once the client has answered.
func (d *Double) Seal(plain []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cipher.Seal(nil, plain)
}

func (d *Double) completeLocked() {
	_ = d.pushJSON(mgs.PayloadHandshakeComplete, mgs.HandshakeComplete{HandshakeTimeToComplete: 1, CustomerMessage: d.opt.Customer})
	d.complete = true
}

// Complete ends a handshake that HoldComplete left open.
func (d *Double) Complete() {
	d.mu.Lock()
	d.completeLocked()
	d.mu.Unlock()
	d.signal()
}

// Response waits for the client's handshake response.
func (d *Double) Response() mgs.HandshakeResponse {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.response == nil && !d.closed {
		d.change.Wait()
	}
	if d.response == nil {
		return mgs.HandshakeResponse{}
	}
	return *d.response
}

func (d *Double) write(conn *websocket.Conn, stop <-chan struct{}) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		for {
			d.mu.Lock()
			b, ok := d.link.Write(time.Now())
			due := d.link.NextDue()
			d.mu.Unlock()
			if !ok {
				if !due.IsZero() {
					t.Reset(time.Until(due))
				}
				break
			}
			if conn.Write(context.Background(), websocket.MessageBinary, b) != nil {
				return
			}
		}
		select {
		case <-d.wake:
		case <-t.C:
		case <-stop:
			return
		}
	}
}
