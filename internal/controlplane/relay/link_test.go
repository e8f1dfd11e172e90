package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// script is a connection whose reads give its pieces, one each.
type script struct {
	net.Conn
	pieces [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

// What comes in large pieces is read ahead: fewer system calls, each with the
// other side flushed before, every byte in its place, and nothing held when it
// is over.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	want := []byte("early")
	conn := &script{}
	for i, size := range []int{7, readBuffer, 200 << 10, 5, 1000, readBuffer + 1, 300 << 10, 1, 2} {
		piece := bytes.Repeat([]byte{byte('a' + i)}, size)
		conn.pieces = append(conn.pieces, piece)
		want = append(want, piece...)
	}
	lent, flushes := 0, 0
	pool := &sync.Pool{New: func() any { lent++; b := make([]byte, writeBuffer); return &b }}
	l := &link{Conn: conn, ahead: []byte("early"), buffers: pool, idle: func() { flushes++ }}
	var got []byte
	p := make([]byte, readBuffer)
	for {
		n, err := l.Read(p)
		got = append(got, p[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came, of %d, or in another order", len(got), len(want))
	}
	if lent == 0 || flushes > 16 { // 35 reads of readBuffer otherwise
		t.Errorf("%d buffers were lent, the other side flushed %d times", lent, flushes)
	}
	if l.room != nil || len(l.ahead) > 0 || l.much {
		t.Errorf("the link still holds what was lent, or reads ahead of little")
	}
}
