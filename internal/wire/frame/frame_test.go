package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

type vector struct {
	Name   string
	Fields struct {
		MessageType                string
		CreatedDate                int64
		SequenceNumber             int64
		Flags                      uint64
		MessageID                  string `json:"MessageId"`
		PayloadType, PayloadLength uint32
	}
	PayloadHex, FrameHex, PayloadUtf8 string
	FrameLength                       int
}

func vectors(tb testing.TB) (frames []vector, order []struct{ UUID, WireHex string }) {
	tb.Helper()
	b, err := os.ReadFile("testdata/frames.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v struct {
		Frames    []vector
		UUIDOrder []struct{ UUID, WireHex string }
	}
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	return v.Frames, v.UUIDOrder
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	t.Parallel()
	frames, _ := vectors(t)
	if len(frames) != 26 {
		t.Fatalf("%d vectors, want 26", len(frames))
	}
	for _, v := range frames {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			wire, f := unhex(t, v.FrameHex), v.Fields
			if len(wire) != v.FrameLength {
				t.Fatalf("the vector has %d bytes, not %d", len(wire), v.FrameLength)
			}
			want := Message{
				Type: f.MessageType, Created: time.UnixMilli(f.CreatedDate).UTC(), Sequence: f.SequenceNumber,
				Flags: f.Flags, ID: uuid.MustParse(f.MessageID), PayloadType: f.PayloadType,
				Payload: unhex(t, v.PayloadHex), DigestOK: true,
			}
			got, err := Unmarshal(wire)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
			out, err := want.Marshal()
			if err != nil || !bytes.Equal(out, wire) {
				t.Errorf("Marshal: %v\n got %x\nwant %x", err, out, wire)
			}
		})
	}
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func same(t failer, got, want Message) {
	t.Helper()
	if !bytes.Equal(got.Payload, want.Payload) {
		t.Fatalf("payload %q, want %q", got.Payload, want.Payload)
	}
	if !got.Created.Equal(want.Created) || got.Type != want.Type || got.Sequence != want.Sequence || got.Flags != want.Flags ||
		got.ID != want.ID || got.PayloadType != want.PayloadType || got.DigestOK != want.DigestOK {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestUUIDOrder(t *testing.T) {
	t.Parallel()
	_, order := vectors(t)
	if len(order) == 0 {
		t.Fatal("no vectors")
	}
	for _, o := range order {
		m := New("x", time.UnixMilli(1), nil)
		m.ID = uuid.MustParse(o.UUID)
		b, err := m.Marshal()
		if err != nil || hex.EncodeToString(b[64:80]) != o.WireHex {
			t.Errorf("%s is %x on the wire, want %s (%v)", o.UUID, b[64:80], o.WireHex, err)
		}
	}
}

// sample is a good frame to spoil.
func sample(tb testing.TB) []byte {
	tb.Helper()
	b, err := New("agent_job", time.UnixMilli(1700000000000), []byte(`{"JobId":"j"}`)).Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestUnmarshalRefuses(t *testing.T) {
	t.Parallel()
	be := binary.BigEndian
	tests := map[string]struct {
		spoil func([]byte) []byte
		say   string
	}{
		"empty":             {func([]byte) []byte { return nil }, "0 bytes"},
		"4 GiB claimed":     {func(b []byte) []byte { be.PutUint32(b[116:], 0xffffffff); return b }, "PayloadLength says 4294967295"},
		"length one short":  {func(b []byte) []byte { be.PutUint32(b[116:], uint32(len(b)-HeaderSize-1)); return b }, "PayloadLength"},
		"length zero":       {func(b []byte) []byte { be.PutUint32(b[116:], 0); return b }, "PayloadLength"},
		"byte too many":     {func(b []byte) []byte { return append(b, 0) }, "PayloadLength"},
		"header length 0":   {func(b []byte) []byte { be.PutUint32(b, 0); return b }, "HeaderLength 0"},
		"header length 120": {func(b []byte) []byte { be.PutUint32(b, 120); return b }, "HeaderLength 120"},
		"header 4 GiB":      {func(b []byte) []byte { be.PutUint32(b, 0xffffffff); return b }, "HeaderLength"},
		"no type":           {func(b []byte) []byte { copy(b[4:36], strings.Repeat(" ", 32)); return b }, "MessageType"},
		"type of NULs":      {func(b []byte) []byte { copy(b[4:36], make([]byte, 32)); return b }, "MessageType"},
		"type with control": {func(b []byte) []byte { b[6] = 0x1b; return b }, "not printable"},
		"type with NUL":     {func(b []byte) []byte { b[6] = 0; return b }, "not printable"},
		"type not UTF-8":    {func(b []byte) []byte { b[6] = 0xff; return b }, "not printable"},
		"no date":           {func(b []byte) []byte { be.PutUint64(b[40:], 0); return b }, "CreatedDate"},
		"date far off":      {func(b []byte) []byte { be.PutUint64(b[40:], 1<<63); return b }, "CreatedDate"},
		"too large": {func(b []byte) []byte {
			b = append(b, make([]byte, MaxSize)...)
			be.PutUint32(b[116:], uint32(len(b)-HeaderSize))
			return b
		}, "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Unmarshal(tt.spoil(sample(t)))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v, want ErrInvalid with %q", err, tt.say)
			}
		})
	}
}

func TestUnmarshalRefusesEveryTruncation(t *testing.T) {
	t.Parallel()
	b := sample(t)
	for n := range b {
		if _, err := Unmarshal(b[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("the first %d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestUnmarshalTakes(t *testing.T) {
	t.Parallel()
	b := sample(t)
	copy(b[4:36], append([]byte("\x00agent_job"), make([]byte, 22)...))
	m, err := Unmarshal(b)
	if err != nil || m.Type != "agent_job" {
		t.Errorf("padding of NULs: %q, %v", m.Type, err)
	}
	b = sample(t)
	b[80] ^= 1
	if m, err = Unmarshal(b); err != nil || m.DigestOK {
		t.Errorf("a wrong digest: %v, %v", m.DigestOK, err)
	}
	full := New("x", time.UnixMilli(1), make([]byte, MaxSize-HeaderSize))
	if b, err = full.Marshal(); err != nil || len(b) != MaxSize {
		t.Fatalf("largest frame: %d bytes, %v", len(b), err)
	}
	if _, err = Unmarshal(b); err != nil {
		t.Errorf("largest frame: %v", err)
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	good := New("x", time.UnixMilli(1), nil)
	for name, spoil := range map[string]func(*Message){
		"no type":        func(m *Message) { m.Type = "" },
		"long type":      func(m *Message) { m.Type = strings.Repeat("x", 33) },
		"blank type":     func(m *Message) { m.Type = "x " },
		"control":        func(m *Message) { m.Type = "x\ny" },
		"no date":        func(m *Message) { m.Created = time.Time{} },
		"1970":           func(m *Message) { m.Created = time.UnixMilli(0) },
		"year 10000":     func(m *Message) { m.Created = time.UnixMilli(maxMillis + 1) },
		"payload beyond": func(m *Message) { m.Payload = make([]byte, MaxSize-HeaderSize+1) },
	} {
		m := good
		spoil(&m)
		if b, err := m.Append([]byte("kept")); err == nil || b != nil {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if b, err := good.Append([]byte("kept")); err != nil || !bytes.HasPrefix(b, []byte("kept")) || len(b) != 4+HeaderSize {
		t.Errorf("Append: %q, %v", b, err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var id uuid.UUID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		want := Message{
			Type:        rapid.StringMatching(`[a-z_]{1,32}`).Draw(t, "type"),
			Created:     time.UnixMilli(rapid.Int64Range(1, maxMillis).Draw(t, "created")),
			Sequence:    rapid.Int64().Draw(t, "sequence"),
			Flags:       rapid.Uint64().Draw(t, "flags"),
			ID:          id,
			PayloadType: rapid.Uint32().Draw(t, "payloadType"),
			Payload:     rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
			DigestOK:    true,
		}
		b, err := want.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	})
}

func FuzzUnmarshal(f *testing.F) {
	frames, _ := vectors(f)
	for _, v := range frames {
		b := unhex(f, v.FrameHex)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Unmarshal(b)
		if trusted, terr := Trust(b); (terr == nil) != (err == nil) || err == nil && (trusted.Sequence != m.Sequence || trusted.ID != m.ID || trusted.Type != m.Type || !bytes.Equal(trusted.Payload, m.Payload) || !trusted.DigestOK) {
			t.Fatalf("Trust gives %+v, %v; Unmarshal %+v, %v", trusted, terr, m, err)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error without cause: %v", err)
			}
			return
		}
		out, err := m.Marshal()
		if err != nil {
			t.Fatalf("%+v was read but cannot be written: %v", m, err)
		}
		// Apart from the padding, the schema version and a wrong digest, what
		// was read is what is written.
		copy(out[4:40], b[4:40])
		if !m.DigestOK {
			copy(out[80:112], b[80:112])
		}
		if !bytes.Equal(out, b) {
			t.Fatalf("read %x, written %x", b, out)
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	m := New("output_stream_data", time.UnixMilli(1), make([]byte, 1024))
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		out, err := m.Append(buf)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Unmarshal(out); err != nil {
			b.Fatal(err)
		}
	}
}
