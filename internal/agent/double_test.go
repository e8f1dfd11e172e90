package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

const instance = "mi-0123456789abcdef0"

// patience bounds every wait; a test that meets it has failed.
const patience = 30 * time.Second

// double is the service, as far as these tests need it.
type double struct {
	t   *testing.T
	srv *httptest.Server

	mu     sync.Mutex
	denied bool // the gateway refuses
	conn   *websocket.Conn
	calls  []string // operations of ec2messages, in order

	opened   chan mgs.OpenControlChannel
	frames   chan frame.Message // from the agent
	messages chan mds.Message   // for the poll
	replies  chan mds.SendReplyInput
	pings    chan string
}

func newDouble(t *testing.T) *double {
	t.Helper()
	d := &double{t: t, opened: make(chan mgs.OpenControlChannel, 10), frames: make(chan frame.Message, 1000),
		messages: make(chan mds.Message, 10), replies: make(chan mds.SendReplyInput, 100), pings: make(chan string, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", d.call)
	mux.HandleFunc("POST /v1/control-channel/{id}", d.create)
	mux.HandleFunc("GET /v1/control-channel/{id}", d.open)
	d.srv = httptest.NewServer(mux)
	t.Cleanup(d.srv.Close)
	return d
}

func (d *double) call(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch op {
	case "RegisterManagedInstance":
		fmt.Fprintf(w, `{"InstanceId":%q}`, instance)
	case "RequestManagedInstanceRoleToken":
		fmt.Fprintf(w, `{"AccessKeyId":"AKIA","SecretAccessKey":"secret","SessionToken":"token","UpdateKeyPair":false,"TokenExpirationDate":%d}`, time.Now().Add(time.Hour).Unix())
	case "UpdateInstanceInformation":
		d.pings <- string(body)
		io.WriteString(w, "{}")
	case mds.OpGetMessages:
		select {
		case m := <-d.messages:
			_ = json.NewEncoder(w).Encode(mds.GetMessagesOutput{Destination: instance, Messages: []mds.Message{m}})
		case <-r.Context().Done():
		}
	default:
		d.mu.Lock()
		d.calls = append(d.calls, op)
		d.mu.Unlock()
		var in mds.SendReplyInput
		if op == mds.OpSendReply && json.Unmarshal(body, &in) == nil {
			d.replies <- in
		}
		io.WriteString(w, "{}")
	}
}

func (d *double) create(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.denied {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<AccessDeniedException><Message>no</Message></AccessDeniedException>")
		return
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, "<R><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>tok</TokenValue></R>")
}

func (d *double) open(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	_, b, err := conn.Read(r.Context())
	if err != nil {
		return
	}
	var hello mgs.OpenControlChannel
	if err := json.Unmarshal(b, &hello); err != nil || hello.TokenValue != "tok" {
		d.t.Errorf("first message %s: %v", b, err)
		return
	}
	d.mu.Lock()
	d.conn = conn
	d.mu.Unlock()
	d.opened <- hello
	for {
		_, b, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		m, err := frame.Unmarshal(b)
		if err != nil || !m.DigestOK {
			d.t.Errorf("a frame of the agent: %v %v", m.DigestOK, err)
			return
		}
		d.frames <- m
	}
}

func (d *double) online() {
	d.t.Helper()
	take(d.t, "the control channel", d.opened)
}

// drop breaks the channel as a lost network does.
func (d *double) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.conn.CloseNow()
}

func (d *double) write(typ string, v any) frame.Message {
	d.t.Helper()
	m, err := d.send(typ, v)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

// send is write to an agent that may be about to die.
func (d *double) send(typ string, v any) (frame.Message, error) {
	p, err := json.Marshal(v)
	if err != nil {
		return frame.Message{}, err
	}
	m := frame.New(typ, time.Now(), p)
	b, err := m.Marshal()
	if err != nil {
		return m, err
	}
	d.mu.Lock()
	conn := d.conn
	d.mu.Unlock()
	return m, conn.Write(context.Background(), websocket.MessageBinary, b)
}

// push delivers a command over the gateway.
func (d *double) push(id, content string) frame.Message {
	d.t.Helper()
	return d.write(mgs.TypeAgentJob, sendCommand(id, content))
}

func sendCommand(id, content string) mgs.AgentJob {
	return mgs.AgentJob{SchemaVersion: 1, JobId: jobID(id), Topic: "aws.ssm.sendCommand.us.east.1.1", Content: content}
}

// cancel delivers the cancellation of a command.
func (d *double) cancel(id string) {
	d.t.Helper()
	d.write(mgs.TypeAgentJob, mgs.AgentJob{SchemaVersion: 1, JobId: jobID(uuid.NewString()), Topic: "aws.ssm.cancelCommand.us.east.1.1",
		Content: fmt.Sprintf(`{"CancelMessageId":%q}`, jobID(id))})
}

// acked waits for the next frame, which must be an ack with this code.
func (d *double) acked(code mgs.AckCode) {
	d.t.Helper()
	for {
		m := take(d.t, "an ack", d.frames)
		if m.Type != mgs.TypeAgentJobAck {
			continue // replies may overtake it
		}
		ack, err := mgs.Decode[mgs.AgentJobAck](m.Payload)
		if err != nil || ack.StatusCode != code.Code || ack.ErrorMessage != code.Message {
			d.t.Fatalf("ack %+v %v, want %v", ack, err, code)
		}
		return
	}
}

// reply is a reply as it came.
type reply struct {
	doc.Reply
	id    uuid.UUID
	job   string
	topic string
}

// next waits for the next reply.
func (d *double) next() reply {
	d.t.Helper()
	for {
		m := take(d.t, "a reply", d.frames)
		if m.Type != mgs.TypeAgentJobReply {
			continue
		}
		r, err := mgs.Decode[mgs.AgentJobReply](m.Payload)
		if err != nil {
			d.t.Fatal(err)
		}
		out := reply{id: m.ID, job: r.JobId, topic: r.Topic}
		if err := json.Unmarshal([]byte(r.Content), &out.Reply); err != nil {
			d.t.Fatal(err)
		}
		return out
	}
}

// confirm acknowledges a reply.
func (d *double) confirm(r reply) {
	d.t.Helper()
	d.write(mgs.TypeAgentJobReplyAck, mgs.AgentJobReplyAck{JobId: r.job, AcknowledgedMessageId: r.id.String()})
}

// final confirms the replies of a command up to its final one and returns it.
func (d *double) final(id string) reply {
	d.t.Helper()
	for {
		r := d.next()
		d.confirm(r)
		if r.job == jobID(id) && r.DocumentStatus.Terminal() {
			return r
		}
	}
}

func jobID(id string) string { return "aws.ssm." + id + "." + instance }

// shell is the content of a command that runs these lines.
func shell(id string, lines ...string) string {
	params, _ := json.Marshal(map[string][]string{"commands": lines})
	return fmt.Sprintf(`{"CommandId":%q,"DocumentName":"AWS-RunShellScript","DocumentContent":{"schemaVersion":"2.2",
		"parameters":{"commands":{"type":"StringList"}},
		"mainSteps":[{"action":"aws:runShellScript","name":"script","inputs":{"runCommand":"{{ commands }}","timeoutSeconds":"600"}}]},
		"Parameters":%s,"OutputS3BucketName":"","OutputS3KeyPrefix":"","CloudWatchLogGroupName":"","CloudWatchOutputEnabled":"false"}`, id, params)
}

func take[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
