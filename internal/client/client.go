// Package client is the client's side of the session protocol: it opens the
// data channel of a session that StartSession made, shakes hands, carries
// typed payloads both ways without losing or doubling a byte, and finds its
// way back whenever the connection is lost, until the service says that the
// session is over. It knows nothing of terminals nor of ports.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/socket"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/mgs"
)

// Options of a Session.
type Options struct {
	// StreamURL, SessionID and Token are the answer of StartSession. The token
	// opens one connection; every other needs one of Resume.
	StreamURL, SessionID, Token string
	// ClientVersion has four numbers: agents switch behaviour on it.
	ClientVersion string
	// Resume calls ResumeSession. An empty token says that the session is over;
	// errors are tried again for ever, unless they wrap ErrGone.
	Resume func(ctx context.Context) (token string, err error)
	// Terminate calls TerminateSession; nil when there is nothing to call.
	Terminate func(ctx context.Context) error
	// Header gives headers for the upgrade request, a signature perhaps.
	Header func(ctx context.Context, streamURL string) (http.Header, error)
	// Transport dials; nil: http.DefaultTransport.
	Transport *http.Transport
	// Accept judges the session type of the handshake and its properties; its
	// error is what the agent is told, and the person. nil takes every type.
	Accept func(sessionType string, properties json.RawMessage) error
	// Streams asks for the standard streams of a command apart, which the agent
	// may not know: see Peer.
	Streams bool
	// DataKey has KMS make the data key of an encrypted session: the key, and
	// the same sealed. challenge is the agent's, "" when it has none. nil: such
	// sessions are turned down.
	DataKey func(ctx context.Context, keyID, challenge string) (key, sealed []byte, err error)
	// Notify is told of the connection's fate, from Run; nil: nobody is.
	Notify func(Event)
	Clock  clock.Clock  // nil: the machine's
	Log    *slog.Logger // nil: nothing is logged
}

// Event is what happened to the connection.
type Event struct {
	Kind EventKind
	Err  error // why, of Lost and Retrying
}

// EventKind says what.
type EventKind int

// The kinds. After Lost come any number of Retrying, then Connected or the end.
const (
	Connected EventKind = iota // the first time, or again
	Lost
	Retrying // an attempt to come back failed, another follows
)

// Errors of a Session.
var (
	// ErrGone says that the session no longer exists.
	ErrGone = errors.New("the session is over")
	// ErrEnded says that nothing can be written any more: see Session.End.
	ErrEnded = errors.New("the session has ended")
)

// Reason says why a session ended.
type Reason int

// The reasons.
const (
	Running  Reason = iota
	Closed          // the service closed the channel; Text is its Output
	TimedOut        // the service no longer knows the session, or its node
	Left            // by Leave
	Failed          // Text says why
)

// End is how a session ended.
type End struct {
	Reason Reason
	Text   string
}

// Peer is what the handshake told of the agent.
type Peer struct {
	AgentVersion string // empty without a handshake
	SessionType  string // as mgs has them; Standard_Stream without a handshake
	Properties   json.RawMessage
	Ours         bool // it takes large payloads and reports exit codes
	Streams      bool // the command's standard streams are apart, and input can end
	Mux          int  // version of smux in port sessions; 0 is 1
}

// Session is one session. Its methods are safe for concurrent use, but there
// is one caller of Next.
type Session struct {
	opt      Options
	clientID string
	policy   policy

	started, readyOnce, doneOnce sync.Once

	ready    chan struct{} // closed: input may flow
	done     chan struct{} // closed: there is an end
	refused  chan struct{} // closed: we turned the session down
	readable chan struct{} // of capacity 1, as the next two
	room     chan struct{}
	wake     chan struct{}
	suspect  chan struct{}
	writer   chan struct{} // held by the caller in Write

	timer clock.Timer

	mu      sync.Mutex
	idle    sync.Cond // on mu: writing has become false
	link    stream.Link
	conn    *socket.Conn    // nil while there is none
	writing bool            // somebody is in flush
	armed   time.Time       // when timer fires; zero: it does not
	ackBy   time.Time       // when acknowledgements are to be out; zero: none wait
	heard   time.Time       // of the last frame that came
	spoke   bool            // the peer, on this connection
	stop    func()          // ends Run
	run     context.Context // of Run, once it is called
	keys    sync.WaitGroup  // the call of Options.DataKey

	shake    shake
	peer     Peer
	end      End
	refusal  string
	size     sizes
	held     Message // taken from link, not yet handed out
	hasHeld  bool
	joined   []byte
	customer string // message for the person, not yet handed out
	backlog  bool   // taking payload may make acknowledgements due
	said     map[string]bool
}

var fourNumbers = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d{1,9}(\.\d{1,9}){3}$`) })

// New checks o and returns a Session that does nothing until Run.
func New(o Options) (*Session, error) {
	switch {
	case !mgs.ValidSessionID(o.SessionID):
		return nil, fmt.Errorf("SessionId %.64q is not the id of a session", o.SessionID)
	case o.Token == "":
		return nil, errors.New("TokenValue is empty: the service did not open the session")
	case !fourNumbers().MatchString(o.ClientVersion):
		return nil, fmt.Errorf("client version %.32q must have four numbers", o.ClientVersion)
	case o.Resume == nil:
		return nil, errors.New("client: Resume is missing")
	}
	if err := checkURL(o.StreamURL); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	link, err := stream.NewLink(
		stream.SenderConfig{Type: mgs.TypeInputStreamData},
		stream.ReceiverConfig{Type: mgs.TypeOutputStreamData})
	if err != nil {
		return nil, err
	}
	s := &Session{
		opt: o, clientID: uuid.NewString(), policy: defaultPolicy, link: link, run: context.Background(),
		ready: make(chan struct{}), done: make(chan struct{}), refused: make(chan struct{}),
		readable: make(chan struct{}, 1), room: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		suspect: make(chan struct{}, 1), writer: make(chan struct{}, 1),
		said: map[string]bool{},
	}
	s.idle.L = &s.mu
	return s, nil
}

// checkURL admits plain text on this machine only: the token is a secret.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return errors.New("StreamUrl is not a ws:// or wss:// URL")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	if u.Scheme == "ws" && !(strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()) {
		return fmt.Errorf("StreamUrl goes to %s without encryption; ws:// is for this machine only, the service must give a wss:// URL", u.Host)
	}
	return nil
}

// Ready is closed when input may flow and Peer is known.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Done is closed when the session has ended. What had come before can still be
// taken with Next.
func (s *Session) Done() <-chan struct{} { return s.done }

// End is how the session ended, Running before it has.
func (s *Session) End() End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Peer is the other end, once Ready is closed.
func (s *Session) Peer() Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer
}

// finish ends the session, the first time it is called.
func (s *Session) finish(e End) {
	s.mu.Lock()
	s.finishLocked(e)
	s.mu.Unlock()
}

func (s *Session) finishLocked(e End) {
	s.doneOnce.Do(func() {
		s.end = e
		close(s.done)
		if s.stop != nil {
			s.stop()
		}
	})
}

func (s *Session) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// signal wakes who waits on a channel of capacity 1, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// complain logs a kind of fault once: whoever causes it can do so for ever.
func (s *Session) complain(kind string, err error) {
	if !s.said[kind] && len(s.said) < 32 {
		s.said[kind] = true
		s.opt.Log.Warn("a message of the session is not as it should be", "kind", kind, "error", err)
	}
}
