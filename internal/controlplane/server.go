// Package controlplane is ssm-local: an embedded AWS Systems Manager for one
// machine or site. It assembles stores, services and listeners; clients and
// agents, stock ones and ours, talk to it as they do to AWS.
package controlplane

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/gateway"
	"ssmagent/internal/controlplane/kms"
	"ssmagent/internal/controlplane/logs"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/parameters"
	"ssmagent/internal/controlplane/pki"
	"ssmagent/internal/controlplane/relay"
	"ssmagent/internal/controlplane/s3"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/fsys"
	"ssmagent/internal/wire/ssm"
)

// Files of the data directory.
const (
	CredentialsFile = "credentials" // access keys, in the form of AWS's shared file
	ConfigFile      = "config"      // the region, in the same form
	storeFile       = "store.db"
	objectsDir      = "objects" // files of the object store
)

// Defaults of Options.
const (
	DefaultRegion  = "us-east-1"
	DefaultAccount = "000000000000"
)

// Options are what a Server needs.
type Options struct {
	Dir       string   // all that it keeps; made if need be, mode 0700
	Listen    string   // plain HTTP, a loopback address with a port; "" for none
	TLSListen string   // TLS, for nodes elsewhere; "" for none
	Names     []string // further host names and addresses by which clients know it
	Region    string   // DefaultRegion when ""
	Account   string   // 12 digits; DefaultAccount when ""
	Clock     clock.Clock
	Log       *slog.Logger
	// WriteSecret writes a file as a whole (all or nothing, durable) that only
	// its owner may read.
	WriteSecret func(path string, data []byte) error
	// Quick makes of a listener one whose connections cost less; nil for none.
	Quick func(net.Listener) net.Listener
	// FS is the disk for the files of the object store.
	FS fsys.FS
	// NoGateway refuses control channels: nodes then poll ec2messages.
	NoGateway bool
	// RunAs is the tag SSMSessionRunAs of the operator: the account of sessions
	// whose document has runAsEnabled. "" for none.
	RunAs string
	// TokenLife is how long nodes' credentials last; an hour when zero.
	TokenLife time.Duration
}

// Server is a control plane.
type Server struct {
	opt       Options
	db        *store.DB
	ca        *pki.Authority // nil without TLS
	nodes     *nodes.Service
	documents *documents.Service
	commands  *commands.Service
	sessions  *sessions.Service
	keys      *kms.Service
	values    *parameters.Service
	gateway   *gateway.Gateway
	relay     *relay.Relay
	objects   *s3.Service
	logs      *logs.Service
	handler   http.Handler
	ready     chan struct{}

	mu         sync.Mutex
	plain, tls net.Listener
}

// New opens the data directory, which it makes at first. It listens to
// nothing yet. The caller closes the Server, also after Run.
func New(o Options) (_ *Server, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := os.Chmod(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	s := &Server{opt: o, ready: make(chan struct{})}
	if s.db, err = store.Open(filepath.Join(o.Dir, storeFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.db.Close())
		}
	}()
	if o.TLSListen != "" {
		if s.ca, err = pki.Open(pki.Options{Dir: o.Dir, Names: o.Names, Clock: o.Clock, WriteSecret: o.WriteSecret}); err != nil {
			return nil, err
		}
	}
	return s, s.assemble()
}

func (o *Options) check() error {
	if o.Region == "" {
		o.Region = DefaultRegion
	}
	if o.Account == "" {
		o.Account = DefaultAccount
	}
	switch {
	case o.Dir == "":
		return errors.New("control plane: no data directory is given")
	case o.Clock == nil || o.Log == nil || o.WriteSecret == nil || o.FS == nil:
		return errors.New("control plane: Clock, Log, WriteSecret and FS are required")
	case o.Listen == "" && o.TLSListen == "":
		return errors.New("control plane: neither Listen nor TLSListen is given")
	case len(o.Account) != 12 || strings.Trim(o.Account, "0123456789") != "":
		return fmt.Errorf("account %q: it must have 12 digits", o.Account)
	case strings.ContainsAny(o.Region, "/ \t\r\n") || len(o.Region) > 64:
		return fmt.Errorf("region %q: it must be a name such as %s", o.Region, DefaultRegion)
	}
	if o.Listen == "" {
		return nil
	}
	return checkPlain(o.Listen)
}

func (s *Server) assemble() error {
	o := s.opt
	keys, err := auth.LoadKeys(filepath.Join(o.Dir, CredentialsFile), o.WriteSecret)
	if err != nil {
		return err
	}
	if err := s.writeConfig(); err != nil {
		return err
	}
	issuer, err := auth.NewIssuer(s.db, o.Clock)
	if err != nil {
		return err
	}
	s.nodes = nodes.New(nodes.Options{DB: s.db, Clock: o.Clock, Log: o.Log.With("part", "nodes"), IssueToken: issuer.IssueToken, TokenLife: o.TokenLife})
	verifier := auth.New(auth.Options{Keys: keys, Issuer: issuer, Account: o.Account, Clock: o.Clock, PublicKey: s.nodes.PublicKey})
	s.objects, err = s3.New(s3.Options{Dir: filepath.Join(o.Dir, objectsDir), FS: o.FS, DB: s.db, Clock: o.Clock, Log: o.Log.With("part", "s3"), Region: o.Region, Names: o.Names, Verify: verifier.Storage})
	if err != nil {
		return err
	}
	if s.documents, err = documents.New(documents.Options{DB: s.db, Clock: o.Clock, Log: o.Log.With("part", "documents"), Account: o.Account,
		Files: attachments{objects: s.objects, key: keys.First(), region: o.Region, clock: o.Clock, url: s.url}}); err != nil {
		return err
	}
	s.commands, err = commands.New(commands.Config{DB: s.db, Documents: resolver{s.documents}, Clock: o.Clock, Log: o.Log.With("part", "commands"), Region: o.Region})
	if err != nil {
		return err
	}
	s.sessions, err = sessions.New(sessions.Config{DB: s.db, Documents: s.documents, Clock: o.Clock, Log: o.Log.With("part", "sessions"), RunAs: o.RunAs})
	if err != nil {
		return err
	}
	s.keys = kms.New(kms.Options{DB: s.db, Clock: o.Clock, Log: o.Log.With("part", "kms"), Region: o.Region, Account: o.Account})
	s.values = parameters.New(parameters.Options{DB: s.db, Keys: s.keys, Clock: o.Clock, Log: o.Log.With("part", "parameters"), Region: o.Region, Account: o.Account})
	s.nodes.OnDeregister(s.commands.NodeRemoved)
	s.nodes.OnDeregister(s.sessions.NodeRemoved)
	s.gateway = gateway.New(gateway.Options{Queue: s.commands, Sessions: s.sessions, Clock: o.Clock, Log: o.Log.With("part", "gateway"), Verify: verifier.Caller, Endpoint: s.url,
		Rivals: s.nodes.Rivals})
	s.relay = relay.New(relay.Options{Sessions: s.sessions, Clock: o.Clock, Log: o.Log.With("part", "relay"), Verify: verifier.Caller})
	s.logs, err = logs.New(logs.Options{DB: s.db, Clock: o.Clock, Log: o.Log.With("part", "logs"), Region: o.Region, Account: o.Account})
	if err != nil {
		return err
	}
	s.sessions.SetPusher(s.gateway)
	s.sessions.SetChannels(s.relay)
	s.nodes.SetPresence(s.gateway)
	s.nodes.OnDeregister(s.gateway.Disconnect)
	s.handler = s.routes(verifier)
	return nil
}

// writeConfig writes the shared configuration file when it is not there.
func (s *Server) writeConfig() error {
	path := filepath.Join(s.opt.Dir, ConfigFile)
	text := "[default]\nregion = " + s.opt.Region + "\n"
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	if err := s.opt.WriteSecret(path, []byte(text)); err != nil {
		return fmt.Errorf("write the region: %w", err)
	}
	return nil
}

// routes puts the services behind one handler, as section 11 of the protocol
// reference allows: the target header, the form and the path tell them apart.
func (s *Server) routes(v *auth.Verifier) http.Handler {
	tagged := tags{db: s.db, types: map[string]tagged{"ManagedInstance": s.nodes, "Document": s.documents, "Parameter": s.values}}
	dispatcher := &api.Dispatcher{
		Ops: api.Merge(s.nodes.Ops(), s.documents.Ops(), s.commands.Ops(), s.sessions.Ops(), s.gateway.Ops(), tagged.Ops(),
			s.logs.Ops(), s.keys.Ops(), s.values.Ops()),
		Verify: v.Caller, Log: s.opt.Log.With("part", "api"),
	}
	calls := sessions.Origin(dispatcher)
	sts := auth.STS{Verify: v.Caller, Log: s.opt.Log.With("part", "sts")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			sts.ServeHTTP(w, r)
			return
		}
		calls.ServeHTTP(w, r.WithContext(withOrigin(r)))
	})
	if s.opt.NoGateway {
		mux.HandleFunc("/v1/", gateway.Refuse)
	} else {
		mux.Handle("/v1/", s.gateway.Handler())
		mux.Handle("/v1/data-channel/", s.relay.Handler())
	}
	mux.HandleFunc("/", nothing)
	return auth.Guard(s.opt.Names, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.opt.Clock.Now().UTC().Format(http.TimeFormat)) // the clock that signatures are held to
		if s.objects.Mine(r) {                                                  // before the mux, which would clean up the path: a key may have // and .. in it
			s.objects.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// nothing answers what no service has, as a browser's look at the address.
func nothing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ssm.ContentType)
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(ssm.Error{Type: "NotFoundException", Message: "this is ssm-local, an AWS Systems Manager control plane: its calls are POST / with X-Amz-Target, and /v1/"})
}

// Handler serves everything, for tests and for other listeners.
func (s *Server) Handler() http.Handler { return s.handler }

// CA is the certificate that clients of the TLS listener must trust, in PEM;
// nil without that listener.
func (s *Server) CA() []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.CA()
}

// Ready is closed when Run listens and has announced itself.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Endpoint says where the server is; its URLs are "" before it listens.
func (s *Server) Endpoint() Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Endpoint{Region: s.opt.Region, Account: s.opt.Account,
		Credentials: filepath.Join(s.opt.Dir, CredentialsFile), Config: filepath.Join(s.opt.Dir, ConfigFile)}
	if s.plain != nil {
		e.URL = "http://" + s.plain.Addr().String()
	}
	if s.tls != nil {
		e.TLSURL = "https://" + s.tlsHost()
		e.CA = s.ca.Path()
	}
	return e
}

// url is where nodes of this machine reach the server, else those elsewhere.
func (s *Server) url() string {
	e := s.Endpoint()
	if e.URL == "" {
		return e.TLSURL
	}
	return e.URL
}

// tlsHost is the first name that clients know, with the listener's port.
func (s *Server) tlsHost() string {
	host, port, _ := net.SplitHostPort(s.tls.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if len(s.opt.Names) > 0 {
		host = strings.Trim(s.opt.Names[0], "[]")
	}
	return net.JoinHostPort(host, port)
}

// Addr is the plain listener's address, nil before it listens or without one.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain == nil {
		return nil
	}
	return s.plain.Addr()
}

// Listen opens the listeners and announces them. Run does it when it was not
// done before.
func (s *Server) Listen() error {
	if s.plain != nil || s.tls != nil {
		return nil
	}
	open := func() (err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.opt.Listen != "" {
			if s.plain, err = listen(s.opt.Listen, "-listen"); err != nil {
				return err
			}
		}
		if s.opt.TLSListen != "" {
			if s.tls, err = listen(s.opt.TLSListen, "-tls-listen"); err != nil {
				return err
			}
		}
		for _, l := range []*net.Listener{&s.plain, &s.tls} {
			if *l != nil && s.opt.Quick != nil {
				*l = s.opt.Quick(*l)
			}
		}
		return nil
	}
	if err := open(); err != nil {
		s.unlisten()
		return err
	}
	if err := s.announce(); err != nil {
		s.unlisten()
		return err
	}
	return nil
}

func (s *Server) unlisten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range []*net.Listener{&s.plain, &s.tls} {
		if *l != nil {
			_ = (*l).Close()
			*l = nil
		}
	}
}

// stopWithin is how long requests under way may go on after the end of Run's
// context. Long polls see that context and end at once.
const stopWithin = 5 * time.Second

// Run serves until ctx ends, and returns nil then.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	srv := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return gctx },
		ErrorLog:    slog.NewLogLogger(s.opt.Log.With("part", "http").Handler(), slog.LevelDebug),
	}
	if s.plain != nil {
		g.Go(func() error { return served(srv.Serve(s.plain)) })
	}
	if s.tls != nil {
		l := tls.NewListener(s.tls, s.ca.TLSConfig())
		g.Go(func() error { return served(srv.Serve(l)) })
	}
	g.Go(func() error { return s.commands.Run(gctx) })
	g.Go(func() error { return s.sessions.Run(gctx) })
	g.Go(func() error { return s.relay.Run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return errors.Join(srv.Close(), fmt.Errorf("requests did not end within %s: %w", stopWithin, err))
		}
		return nil
	})
	close(s.ready)
	err := g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// Close closes the listeners and the store, and takes the announcement back.
// Run must have returned.
func (s *Server) Close() error {
	if s.plain != nil || s.tls != nil {
		_ = os.Remove(filepath.Join(s.opt.Dir, EndpointFile)) // after a crash it is there as well
	}
	s.unlisten()
	return s.db.Close()
}

// resolver hands documents to commands, which knows no document store.
type resolver struct{ documents *documents.Service }

func (r resolver) Resolve(tx *store.Tx, name, version string) (commands.Document, error) {
	d, err := r.documents.Resolve(tx, name, version)
	if err != nil {
		return commands.Document{}, err
	}
	return commands.Document{Name: d.Name, Version: strconv.Itoa(d.Version), Type: d.Type, Content: d.Content, Hash: d.Hash, Platforms: d.Platforms}, nil
}
