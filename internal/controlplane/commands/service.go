package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
)

// Sentinels of deliveries and replies.
var (
	// ErrMessageID says that a message id is not of the form
	// aws.ssm.<uuid>.<node>.
	ErrMessageID = errors.New("the message id is not valid")
	// ErrForeign says that a node spoke of another node's message.
	ErrForeign = errors.New("the message is another node's")
	// ErrUnknown says that there is no such message.
	ErrUnknown = errors.New("the message is not known")
	// ErrReply says that a reply's content is not valid.
	ErrReply = errors.New("the reply is not valid")
)

// Config is what a Service needs.
type Config struct {
	DB        *store.DB
	Documents Documents
	Clock     clock.Clock
	Log       *slog.Logger
	Region    string        // names topics and URLs; "us-east-1" when empty
	NewID     func() string // a command's id; a random UUID when nil
}

// Service is Run Command. Safe for concurrent use.
type Service struct {
	db        *store.DB
	documents Documents
	clock     clock.Clock
	log       *slog.Logger
	region    string
	newID     func() string
	queue     *queue
}

// New loads what is open from the store. It starts nothing: deadlines are
// acted upon by Run.
func New(cfg Config) (*Service, error) {
	s := &Service{db: cfg.DB, documents: cfg.Documents, clock: cfg.Clock, log: cfg.Log, region: cfg.Region, newID: cfg.NewID, queue: newQueue(cfg.Clock)}
	if s.newID == nil {
		s.newID = uuid.NewString
	}
	if s.region == "" {
		s.region = "us-east-1"
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("load commands: %w", err)
	}
	return s, nil
}

// load fills the queue, the oldest commands first.
func (s *Service) load() error {
	var gone []Invocation
	err := s.db.View(func(tx *store.Tx) error {
		cmds, err := openCommands(tx)
		if err != nil {
			return err
		}
		for _, c := range cmds {
			missing, err := s.loadCommand(tx, c)
			if err != nil {
				return err
			}
			gone = append(gone, missing...)
		}
		return s.loadCancels(tx)
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return s.update(func(t *txn) error {
		for _, g := range gone {
			if err := t.undeliverable(g.CommandID, g.NodeID); err != nil {
				return err
			}
		}
		return nil
	})
}

func openCommands(tx *store.Tx) ([]Command, error) {
	var cmds []Command
	err := open.Scan(tx, "", "", func(id string, _ mark) (bool, error) {
		c, ok, err := Commands.Get(tx, id)
		if ok {
			cmds = append(cmds, c)
		}
		return true, err
	})
	sortByAge(cmds)
	return cmds, err
}

// loadCommand queues a command's open invocations and returns those whose
// node is no more.
func (s *Service) loadCommand(tx *store.Tx, c Command) (gone []Invocation, err error) {
	err = Invocations.Scan(tx, c.ID+"/", "", func(_ string, inv Invocation) (bool, error) {
		if inv.State.Final() {
			return true, nil
		}
		if _, ok, err := nodes.Nodes.Get(tx, inv.NodeID); err != nil {
			return false, err
		} else if !ok {
			gone = append(gone, inv)
		}
		s.queue.mu.Lock()
		s.queue.add(newJob(inv), c.Concurrency)
		s.queue.mu.Unlock()
		return true, nil
	})
	return gone, err
}

func (s *Service) loadCancels(tx *store.Tx) error {
	return cancels.Scan(tx, "", "", func(_ string, k Cancel) (bool, error) {
		if k.Done {
			return true, nil
		}
		s.queue.mu.Lock()
		s.queue.add(newCancelJob(k), 0)
		s.queue.mu.Unlock()
		return true, nil
	})
}

// NodeRemoved has Run end what is open for a node that was deregistered. It
// does not block; New finds what a crash left open.
func (s *Service) NodeRemoved(node string) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.removed = append(s.queue.removed, node)
	s.queue.kick()
}

// bury ends what is open for removed nodes.
func (s *Service) bury() error {
	s.queue.mu.Lock()
	removed := s.queue.removed
	s.queue.removed = nil
	var ended []job
	if len(removed) > 0 {
		for _, j := range s.queue.jobs {
			if slices.Contains(removed, j.node) {
				ended = append(ended, *j)
			}
		}
	}
	s.queue.mu.Unlock()
	if len(ended) == 0 {
		return nil
	}
	err := s.update(func(t *txn) error {
		for _, j := range ended {
			if err := t.bury(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.queue.mu.Lock()
		s.queue.removed = append(s.queue.removed, removed...)
		s.queue.mu.Unlock()
		return fmt.Errorf("end the commands of removed nodes: %w", err)
	}
	return nil
}

func (t *txn) bury(j job) error {
	if j.command != "" {
		return t.undeliverable(j.command, j.node)
	}
	node, id, err := ParseMessageID(j.messageID)
	if err != nil {
		return err
	}
	return t.endCancel(node, id)
}

func (t *txn) undeliverable(command, node string) error {
	inv, c, err := t.invocation(command, node)
	if err != nil || inv == nil {
		return err
	}
	t.holds.force(command, node)
	t.impose(inv, c, Undeliverable)
	return nil
}

// topic is a topic as the service writes it: agents look at the prefix only.
func (s *Service) topic(prefix string) string {
	return prefix + "." + strings.ReplaceAll(s.region, "-", ".") + ".1"
}

var messageID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^aws\.ssm\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(i-(?:\w{8}|\w{17})|mi-\w{17})$`)
})

// MessageID is the id of the message that carries a command, or a
// cancellation, to a node.
func MessageID(id, node string) string { return "aws.ssm." + id + "." + node }

// ParseMessageID takes a message id apart, or returns ErrMessageID.
func ParseMessageID(s string) (node, id string, err error) {
	m := messageID().FindStringSubmatch(s)
	if m == nil {
		if len(s) > 80 {
			s = s[:80] + "…"
		}
		return "", "", fmt.Errorf("%w: %q, need aws.ssm.<command id>.<instance id>", ErrMessageID, s)
	}
	return m[2], m[1], nil
}

func isCancel(topic string) bool { return strings.HasPrefix(topic, mgs.TopicCancelCommand) }
