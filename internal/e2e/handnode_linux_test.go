package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/secret"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	wire "ssmagent/internal/wire/ssm"
)

// handNode is a node played by the test: it has a key and credentials, and
// says what no agent would.
type handNode struct {
	t     *testing.T
	p     *plane
	id    string
	creds aws.Credentials
}

func (p *plane) handNode() *handNode {
	p.t.Helper()
	key, err := sigv4.NewKey()
	if err != nil {
		p.t.Fatal(err)
	}
	pub, err := sigv4.EncodePublicKey(&key.PublicKey)
	if err != nil {
		p.t.Fatal(err)
	}
	h := &handNode{t: p.t, p: p}
	code, id := p.activation(&ssm.CreateActivationInput{})
	fingerprint := uuid.NewString()
	var reg wire.RegisterManagedInstanceOutput
	h.must(&reg, wire.TargetPrefix+".RegisterManagedInstance", wire.RegisterManagedInstanceInput{ActivationCode: secret.Text(code), ActivationId: id, Fingerprint: fingerprint, PublicKey: pub, PublicKeyType: "Rsa"}, nil)
	h.id = reg.InstanceId
	var token wire.RequestManagedInstanceRoleTokenOutput
	h.must(&token, wire.TargetPrefix+".RequestManagedInstanceRoleToken", wire.RequestManagedInstanceRoleTokenInput{Fingerprint: fingerprint}, func(r *http.Request, body []byte) error {
		return sigv4.SignPSS(r, body, key, h.id, "ssm", "us-east-1", time.Now())
	})
	h.creds = aws.Credentials{AccessKeyID: token.AccessKeyId, SecretAccessKey: string(token.SecretAccessKey), SessionToken: string(token.SessionToken)}
	return h
}

// call makes a JSON 1.1 call and returns status and body.
func (h *handNode) call(target string, in any, sign func(*http.Request, []byte) error) (int, []byte) {
	h.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.p.url, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.ContentType)
	r.Header.Set("X-Amz-Target", target)
	if sign != nil {
		if err := sign(r, body); err != nil {
			h.t.Fatal(err)
		}
	}
	return h.do(r)
}

func (h *handNode) do(r *http.Request) (int, []byte) {
	h.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, b
}

func (h *handNode) must(out any, target string, in any, sign func(*http.Request, []byte) error) {
	h.t.Helper()
	status, b := h.call(target, in, sign)
	if status != http.StatusOK {
		h.t.Fatalf("%s: %d %s", target, status, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		h.t.Fatal(err)
	}
}

// sign signs with the node's role token.
func (h *handNode) sign(service string) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error {
		return sigv4.Sign(h.t.Context(), r, body, h.creds, service, "us-east-1", time.Now())
	}
}

// channel opens the node's control channel.
func (h *handNode) channel(ctx context.Context) *websocket.Conn {
	h.t.Helper()
	path := h.p.url + "/v1/control-channel/" + h.id
	body, _ := json.Marshal(mgs.CreateControlChannelRequest{MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString()})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if err := h.sign("ssmmessages")(r, body); err != nil {
		h.t.Fatal(err)
	}
	status, b := h.do(r)
	var created struct{ TokenValue string }
	if err := xml.Unmarshal(b, &created); err != nil || status != http.StatusCreated {
		h.t.Fatalf("create: %d %s", status, b)
	}
	up, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"?role=subscribe&stream=input", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.sign("ssmmessages")(up, nil); err != nil {
		h.t.Fatal(err)
	}
	c, _, err := websocket.Dial(ctx, up.URL.String(), &websocket.DialOptions{HTTPHeader: up.Header})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.CloseNow() })
	first, _ := json.Marshal(mgs.OpenControlChannel{MessageSchemaVersion: mgs.SchemaVersion, RequestId: uuid.NewString(), TokenValue: secret.Text(created.TokenValue), AgentVersion: "3.3.9000.0", PlatformType: "linux"})
	if err := c.Write(ctx, websocket.MessageText, first); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// TestLyingFrames sends frames that no agent would.
func TestLyingFrames(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n, h := p.node(&ssm.CreateActivationInput{}), p.handNode()
	huge := make([]byte, frame.HeaderSize)
	binary.BigEndian.PutUint32(huge, 116)
	copy(huge[4:36], fmt.Sprintf("%-32s", mgs.TypeAgentJobReply))
	binary.BigEndian.PutUint64(huge[40:], 1)
	binary.BigEndian.PutUint32(huge[116:], 0xFFFFFFFF)
	garbage, err := frame.New(mgs.TypeAgentJobReply, time.Now(), []byte("{garbage")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := h.channel(ctx)
	for name, b := range map[string][]byte{"4 GiB claimed": huge, "truncated": huge[:60], "garbage in the payload": garbage} {
		if err := c.Write(ctx, websocket.MessageBinary, b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whether or not the gateway keeps that channel, others are unharmed.
	if inv := p.invocation(p.send(n.id, "echo unharmed"), n.id); aws.ToString(inv.StandardOutputContent) != "unharmed\n" {
		t.Errorf("after it: %s", inv.Status)
	}
	p.line("frame") // the operator is told
}

// TestForeignNode replies, acknowledges and pings for a node that one is not.
func TestForeignNode(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n, h := p.node(&ssm.CreateActivationInput{}), p.handNode()
	g := newGate(t)
	id := p.send(n.id, g.script()...)
	p.file(g.ran, 1)
	job := "aws.ssm." + id + "." + n.id
	payload, _ := json.Marshal(doc.Reply{DocumentStatus: doc.Success, RuntimeStatus: map[string]doc.StepStatus{"aws:runShellScript": {Status: doc.Success, StandardOutput: "forged"}}})

	for target, in := range map[string]any{
		mds.TargetPrefix + ".SendReply":                  mds.SendReplyInput{MessageId: job, ReplyId: uuid.NewString(), Payload: string(payload)},
		mds.TargetPrefix + ".FailMessage":                mds.FailMessageInput{MessageId: job, FailureType: mds.FailureInternal},
		mds.TargetPrefix + ".GetMessages":                mds.GetMessagesInput{Destination: n.id, MessagesRequestId: uuid.NewString()},
		wire.TargetPrefix + ".UpdateInstanceInformation": wire.UpdateInstanceInformationInput{InstanceId: n.id, AgentName: "x", AgentVersion: "9.9.9.9", PlatformType: "Linux"},
		wire.TargetPrefix + ".SendCommand":               map[string]any{"DocumentName": "AWS-RunShellScript", "InstanceIds": []string{n.id}},
	} {
		service := "ssm"
		if strings.HasPrefix(target, mds.TargetPrefix) {
			service = "ec2messages"
		}
		if status, b := h.call(target, in, h.sign(service)); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", target, status, b)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := h.channel(ctx)
	reply, _ := json.Marshal(mgs.AgentJobReply{SchemaVersion: 1, JobId: job, Content: string(payload), Topic: mgs.TopicSendCommand})
	b, err := frame.New(mgs.TypeAgentJobReply, time.Now(), reply).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
	g.release(t)
	if inv := p.invocation(id, n.id); aws.ToString(inv.StandardOutputContent) != "finished\n" {
		t.Errorf("the forged reply was taken: %s %q", inv.Status, aws.ToString(inv.StandardOutputContent))
	}
	g.once(t)
}
