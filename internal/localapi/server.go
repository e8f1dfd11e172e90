package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/link"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
)

const (
	// patience bounds how long a client may take to say what it wants, and
	// to take a line.
	patience = 10 * time.Second
	// maxClients are served at once.
	maxClients = 32
)

// Queue is where commands are; *job.Queue.
type Queue interface {
	Submit(ctx context.Context, r job.Request) error
	Cancel(ctx context.Context, id string) (bool, error)
	List(ctx context.Context, limit int) ([]job.Summary, error)
	Show(ctx context.Context, id string) (job.Summary, bool, error)
	Over(id string) <-chan struct{}
}

// Options of a Server. All but Store and Audit is needed.
type Options struct {
	Path   string // of the socket; its directory is made
	FS     fsys.FS
	Listen func(path string) (net.Listener, error) // ipc.Listen
	// Check refuses a peer that must not ask; ipc.CheckPeer.
	Check func(net.Conn) error
	Queue Queue
	Clock clock.Clock
	Log   *slog.Logger
	Node  job.Node
	// Orchestration is the directory above the commands' own.
	Orchestration string
	Store         doc.ParameterStore
	Audit         *audit.Log
}

// Server answers on the socket. It is the job.Sink of Channel.
type Server struct {
	opt Options

	mu       sync.Mutex
	watchers map[string]*watcher // by command
}

var _ job.Sink = (*Server)(nil)

// New returns a Server that does nothing until Run.
func New(o Options) *Server { return &Server{opt: o, watchers: map[string]*watcher{}} }

// Run serves until ctx ends. A socket that cannot be made is told and is no
// error: the node has its service.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.listen()
	if err != nil {
		s.opt.Log.Error("commands can neither be looked at nor run from this machine's command line", "error", err)
		<-ctx.Done()
		return nil
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxClients)
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on %s: %w", s.opt.Path, err)
		}
		select {
		case places <- struct{}{}:
			wg.Go(func() {
				defer func() { <-places }()
				s.serve(ctx, c)
			})
		default:
			_ = c.Close() // it is told by that
		}
	}
}

func (s *Server) listen() (net.Listener, error) {
	if err := fsys.MkdirAll(s.opt.FS, filepath.Dir(s.opt.Path), 0o700); err != nil {
		return nil, err
	}
	return s.opt.Listen(s.opt.Path)
}

// serve answers one request.
func (s *Server) serve(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		if stop() {
			_ = c.Close()
		}
	}()
	say := func(a Answer) error {
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		return link.WriteLine(c, a)
	}
	if err := s.opt.Check(c); err != nil {
		s.opt.Log.Warn("a request on the local socket is refused", "error", err)
		_ = say(Answer{Error: err.Error()})
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	req, err := readRequest(r)
	if err == nil {
		_ = c.SetReadDeadline(time.Time{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer c.Close() // ends the reader below
		wg.Go(func() {  // who asked may go
			_, _ = io.Copy(io.Discard, r)
			cancel()
		})
		err = s.answer(ctx, req, say)
	}
	if err != nil && ctx.Err() == nil {
		_ = say(Answer{Error: err.Error()})
	}
}

func readRequest(r *bufio.Reader) (Request, error) {
	line, err := link.ReadLine(r, maxRequest)
	if err != nil {
		return Request{}, fmt.Errorf("read the request: %w", err)
	}
	var req Request
	if err := json.Unmarshal(line, &req); err != nil {
		return Request{}, fmt.Errorf("read the request: %w", err)
	}
	return req, req.check()
}

func (s *Server) answer(ctx context.Context, req Request, say func(Answer) error) error {
	switch {
	case req.List > 0:
		all, err := s.opt.Queue.List(ctx, req.List)
		if err != nil {
			return err
		}
		return say(Answer{Commands: all, Done: true})
	case req.Show != "":
		return s.show(ctx, req.Show, say)
	case req.Cancel != "":
		return s.cancel(ctx, req.Cancel, say)
	}
	if req.Resolve != nil {
		return s.resolve(ctx, *req.Resolve, say)
	}
	return s.run(ctx, *req.Run, say)
}

func (s *Server) resolve(ctx context.Context, d Document, say func(Answer) error) error {
	steps, err := d.Resolve(ctx, s.opt.Store)
	if err != nil {
		return err
	}
	for i := range steps {
		if err := say(Answer{Step: &steps[i]}); err != nil {
			return err
		}
	}
	return say(Answer{Done: true})
}

func (s *Server) show(ctx context.Context, id string, say func(Answer) error) error {
	c, known, err := s.opt.Queue.Show(ctx, id)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("no command %.140q is known here; commands that are over are remembered for a day", id)
	}
	for i := range c.Results {
		if err := say(Answer{Result: &c.Results[i]}); err != nil {
			return err
		}
	}
	c.Results = nil
	return say(Answer{Command: &c})
}

// cancel answers when the command is over.
func (s *Server) cancel(ctx context.Context, id string, say func(Answer) error) error {
	over := s.opt.Queue.Over(id)
	known, err := s.opt.Queue.Cancel(ctx, id)
	if err != nil {
		return err
	}
	if !known || over == nil {
		return fmt.Errorf("there is nothing to cancel: no command %.140q waits or runs here", id)
	}
	s.opt.Log.Info("cancelled from this machine's command line", "command", id)
	select {
	case <-over:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.show(ctx, id, say)
}

// run runs a document and tells of it. When who asked goes away the document
// goes on.
func (s *Server) run(ctx context.Context, d Document, say func(Answer) error) error {
	steps, err := d.Resolve(ctx, s.opt.Store)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	w := s.watch(id)
	defer s.unwatch(id)
	r := job.Request{
		ID: id, JobID: id, Channel: Channel, Created: s.opt.Clock.Now().UTC(), DocumentName: d.shown(), Steps: steps,
		Dir: filepath.Join(s.opt.Orchestration, id), Node: s.opt.Node,
	}
	if err := s.opt.Queue.Submit(ctx, r); err != nil {
		return err
	}
	s.opt.Log.Info("a document was accepted from this machine's command line", "command", id, "document", r.DocumentName)
	s.opt.Audit.Post(audit.Event{Kind: audit.CommandAccepted, Command: id, Document: r.DocumentName, Node: s.opt.Node.InstanceID, Detail: "from ssm-cli"})
	over := s.opt.Queue.Over(id)
	if err := say(Answer{Accepted: id, Dir: r.Dir}); err != nil {
		return err
	}
	for told := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.news:
		}
		last := s.latest(w)
		for ; told < len(last.Results); told++ {
			if err := say(Answer{Result: &last.Results[told]}); err != nil {
				return err
			}
		}
		switch {
		case last.Final:
			if over != nil { // who is told may look at it at once
				select {
				case <-over:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return say(Answer{Ended: doc.Overall(last.Results)})
		case last.Result == nil:
			if err := say(Answer{Restarting: true}); err != nil {
				return err
			}
		}
	}
}

// watcher is who waits for the reports of a command.
type watcher struct {
	news chan struct{}
	last job.Report // with Server.mu; each report has the results of those before
}

func (s *Server) watch(id string) *watcher {
	w := &watcher{news: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[id] = w
	return w
}

func (s *Server) unwatch(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, id)
}

func (s *Server) latest(w *watcher) job.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.last
}

// Report implements job.Sink. Who waits is told and never waited for; that
// nobody does is no failure: the results are on disk.
func (s *Server) Report(_ context.Context, rs ...job.Report) error {
	for _, r := range rs {
		if r.Final {
			s.opt.Audit.Post(audit.Event{
				Kind: audit.CommandFinished, Command: r.Request.ID, Document: r.Request.DocumentName, Node: r.Request.Node.InstanceID,
				Status: string(doc.Overall(r.Results)), Detail: "from ssm-cli",
				Traffic: audit.Traffic{Millis: s.opt.Clock.Now().Sub(r.Request.Accepted).Milliseconds()},
			})
		}
		s.mu.Lock()
		if w := s.watchers[r.Request.ID]; w != nil {
			w.last = r
			select {
			case w.news <- struct{}{}:
			default:
			}
		}
		s.mu.Unlock()
	}
	return nil
}
