package e2e

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// answering serves lines on a port of this machine: each comes back with a
// mark.
func answering(t *testing.T, mark string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for s := bufio.NewScanner(c); s.Scan(); {
					fmt.Fprintf(c, "%s %d\n", mark, len(s.Text()))
				}
			}()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestEncryptedPort: a port document with a key is encrypted, which stock agents
// do not do and stock plugins take part in; without the key the tap sees all.
func TestEncryptedPort(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	q, wire := p.tapped()
	n := q.node(&ssm.CreateActivationInput{})
	p.key("alias/ports")
	port := answering(t, "answer-4711")
	document := func(name, inputs string) string {
		return p.session(name, `{"schemaVersion":"1.0","description":"x","sessionType":"Port","inputs":{`+inputs+`},
			"properties":{"portNumber":"`+port+`","type":"LocalPortForwarding"}}`)
	}
	uses := func(doc string) {
		t.Helper()
		cmd := q.stock(n.id, "--document-name", doc)
		cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL_KMS="+q.url)
		pe := sit(t, cmd, 132, 43)
		local := pe.sees(`Port (\d+) opened`)[1]
		for range 3 {
			c, err := net.Dial("tcp", "127.0.0.1:"+local)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "request-0815\n")
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "answer-4711 12\n" {
				t.Errorf("%q %v", line, err)
			}
			c.Close()
		}
		pe.types("\x03")
		pe.ends()
	}
	uses(document("EncryptedPort", `"kmsKeyId":"alias/ports"`))
	for _, text := range []string{"answer-4711", "request-0815"} {
		if wire.has(text) {
			t.Errorf("%q went over the wire in clear", text)
		}
	}
	if !wire.has("KMSCipherTextKey") {
		t.Error("the tap has not seen the handshake")
	}
	uses(document("ClearPort", ""))
	for _, text := range []string{"answer-4711", "request-0815"} {
		if !wire.has(text) {
			t.Errorf("the tap does not see %q in clear", text)
		}
	}
	p.history(n.id, 2)
}
