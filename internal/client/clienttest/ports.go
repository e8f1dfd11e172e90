package clienttest

import (
	"io"
	"net"
	"sync"

	"github.com/xtaci/smux"

	"ssmagent/internal/wire/mgs"
)

// wire is the agent's end of the byte stream.
type wire struct {
	d    *Double
	rest []byte
}

func (w *wire) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		typ, b, ok := w.d.Recv()
		if !ok {
			return 0, io.EOF
		}
		if typ == mgs.PayloadOutput {
			w.rest = b
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.d.Send(mgs.PayloadOutput, p) {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func (w *wire) Close() error { return nil }

// ServePorts is the agent of a multiplexed port session until that ends: it
// dials for every stream.
func (d *Double) ServePorts(dial func() (net.Conn, error)) {
	cfg := smux.DefaultConfig()
	cfg.KeepAliveDisabled = true
	if r := d.Response(); r.ClientVersion == "" {
		return // over
	} else if e, ours := mgs.DecodeExtension(r.Extensions); ours && e.Mux == mgs.MuxWindows {
		cfg.Version, cfg.MaxStreamBuffer = e.Mux, 1<<20
	}
	mux, err := smux.Server(&wire{d: d}, cfg)
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer mux.Close()
	for {
		st, err := mux.AcceptStream()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer st.Close()
			conn, err := dial()
			if err != nil {
				d.Send(mgs.PayloadFlag, mgs.FlagConnectToPortError.Encode())
				return
			}
			defer conn.Close()
			var up sync.WaitGroup
			up.Go(func() {
				if _, err := st.WriteTo(conn); err != nil {
					conn.Close()
					return
				}
				_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			})
			if _, err := io.Copy(struct{ io.Writer }{st}, conn); err == nil {
				_ = st.CloseWrite()
			} else {
				_ = st.Close()
			}
			up.Wait()
		})
	}
}
