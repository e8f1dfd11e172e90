package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
)

const (
	// patience bounds what a client takes to ask.
	patience = 10 * time.Second
	// maxSeconds bounds a profile.
	maxSeconds = 120
	// maxHeader bounds the head of a request.
	maxHeader = 16 << 10
)

// Options of a Server. All is needed.
type Options struct {
	Path   string // of the socket
	FS     fsys.FS
	Listen func(path string) (net.Listener, error) // ipc.Listen
	Check  func(net.Conn) error                    // ipc.CheckPeer
	Status func() Status
	// Caller asks STS whose the node's credentials are.
	Caller func(ctx context.Context) (Caller, error)
	// Proxies are the agent's own.
	Proxies Proxies
	Level   *slog.LevelVar
	Clock   clock.Clock
	Log     *slog.Logger
}

// Server answers administrators.
type Server struct{ opt Options }

// NewServer returns a Server that does nothing until Run.
func NewServer(o Options) *Server { return &Server{o} }

// peer is the key of what Check said of a connection.
type peer struct{}

// Run serves until ctx ends. A socket that cannot be made is told and is no
// error: the node has its service.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.listen()
	if err != nil {
		s.opt.Log.Error("nobody can ask this agent how it is", "error", err)
		<-ctx.Done()
		return nil
	}
	srv := &http.Server{
		Handler: s.handler(), ReadTimeout: patience, IdleTimeout: patience, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peer{}, s.opt.Check(c))
		},
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	err = srv.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve %s: %w", s.opt.Path, err)
}

func (s *Server) listen() (net.Listener, error) {
	if err := fsys.MkdirAll(s.opt.FS, filepath.Dir(s.opt.Path), 0o700); err != nil {
		return nil, err
	}
	return s.opt.Listen(s.opt.Path)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.opt.Status()) })
	mux.HandleFunc("GET /caller", s.caller)
	mux.HandleFunc("GET /proxies", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.opt.Proxies) })
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("PUT /log-level", s.setLevel)
	mux.HandleFunc("GET /debug/stacks", func(w http.ResponseWriter, _ *http.Request) { dump(w, "goroutine", 2) })
	mux.HandleFunc("GET /debug/heap", func(w http.ResponseWriter, _ *http.Request) { dump(w, "heap", 0) })
	mux.HandleFunc("GET /debug/profile", s.profile)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, _ := r.Context().Value(peer{}).(error); err != nil {
			s.opt.Log.Warn("a request on the local socket is refused", "error", err)
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// answer answers with v.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who does not hear it has gone
}

func (s *Server) caller(w http.ResponseWriter, r *http.Request) {
	c, err := s.opt.Caller(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer(w, c)
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, s.opt.Status().metrics())
}

// setLevel takes the level as the body.
func (s *Server) setLevel(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 64))
	var level slog.Level
	if err == nil {
		level, err = ParseLevel(string(text))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	before := s.opt.Level.Level()
	s.opt.Level.Set(level)
	s.opt.Log.Log(r.Context(), max(level, slog.LevelInfo), "the log's level was changed", "from", LevelName(before), "to", LevelName(level))
	w.WriteHeader(http.StatusNoContent)
}

// profile measures what the processor does for the seconds asked for.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.URL.Query().Get("seconds"))
	if err != nil || seconds < 1 || seconds > maxSeconds {
		http.Error(w, fmt.Sprintf("seconds is %.20q; use 1 to %d", r.URL.Query().Get("seconds"), maxSeconds), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := pprof.StartCPUProfile(w); err != nil {
		http.Error(w, "another profile is being taken: "+err.Error(), http.StatusConflict)
		return
	}
	defer pprof.StopCPUProfile()
	t := s.opt.Clock.NewTimer(time.Duration(seconds) * time.Second)
	defer t.Stop()
	select {
	case <-t.C():
	case <-r.Context().Done():
	}
}

// dump writes one of the runtime's own profiles.
func dump(w http.ResponseWriter, name string, debug int) {
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = pprof.Lookup(name).WriteTo(w, debug) // who does not hear it has gone
}

// ParseLevel reads the name of a log level.
func ParseLevel(name string) (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[strings.ToLower(strings.TrimSpace(name))]
	if !ok {
		return 0, fmt.Errorf("log level %.20q: use debug, info, warn or error", name)
	}
	return l, nil
}

// LevelName is the name that ParseLevel reads.
func LevelName(l slog.Level) string { return strings.ToLower(l.String()) }
