package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// tap stands in front of a plane and keeps what the plane sends, to nodes and
// to clients: in this direction the frames of sockets are not masked.
type tap struct {
	url string

	mu   sync.Mutex
	sent bytes.Buffer
	held map[net.Conn]bool
	wg   sync.WaitGroup
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{url: "http://" + l.Addr().String(), held: map[net.Conn]bool{}}
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for c := range w.held {
			c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c, strings.TrimPrefix(to, "http://")) })
		}
	})
	return w
}

func (w *tap) carry(c net.Conn, to string) {
	defer c.Close()
	plane, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer plane.Close()
	w.mu.Lock()
	w.held[c], w.held[plane] = true, true
	w.mu.Unlock()
	sent := make(chan struct{})
	w.wg.Go(func() {
		defer close(sent)
		_, _ = io.Copy(plane, c)
		plane.Close()
	})
	// A client that is gone takes no more, but what it said last still goes on.
	if _, err := io.Copy(c, io.TeeReader(plane, w)); err == nil {
		c.Close()
	}
	<-sent
}

// Write implements io.Writer.
func (w *tap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.Write(b)
}

func (w *tap) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.sent.Bytes(), []byte(text))
}

// tapped is the plane as seen through a tap.
func (p *plane) tapped() (*plane, *tap) {
	w := newTap(p.t, p.url)
	q := *p
	q.url = w.url
	return &q, w
}

// key makes a key with the AWS CLI and gives it the alias.
func (p *plane) key(alias string) (id string) {
	p.t.Helper()
	var made struct{ KeyMetadata struct{ KeyId, Arn string } }
	p.awsJSON(&made, "kms", "create-key", "--description", "sessions")
	p.awsJSON(nil, "kms", "create-alias", "--alias-name", alias, "--target-key-id", made.KeyMetadata.KeyId)
	return made.KeyMetadata.KeyId
}

// session makes a session document.
func (p *plane) session(name, content string) string {
	p.t.Helper()
	if _, err := p.sdk().CreateDocument(p.t.Context(), &ssm.CreateDocumentInput{Name: &name, Content: &content, DocumentType: types.DocumentTypeSession}); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// preferences is the document that sessions without a document use.
const preferences = "SSM-SessionManagerRunShell"

func shellWith(inputs string) string {
	return `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{` + inputs + `"shellProfile":{"linux":"stty size; PS1='[prompt] '"}}}`
}

// Markers of what goes over a wire: printed is put together by the shell, and
// hidden is never printed.
const (
	typedSecret   = `printf '%s-%s\n' typed-secret-4711 printed`
	printedSecret = "typed-secret-4711-printed"
	hiddenSecret  = "hidden-secret-0815"
)

// TestEncryptedShell: the stock CLI and plugin, and our client, open shells
// that the preferences of the account have encrypted; what both sides write is
// not to be found in what the control plane sends on.
func TestEncryptedShell(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	q, wire := p.tapped()
	n := q.node(&ssm.CreateActivationInput{DefaultInstanceName: aws.String("front")})
	p.key("alias/shells")
	clear := p.session("InClear", shellWith(""))
	p.session(preferences, shellWith(`"kmsKeyId":"alias/shells",`))
	uses := func(pe *person) {
		t.Helper()
		works(t, pe)
		pe.types(typedSecret + "\n")
		pe.sees(`\n` + printedSecret)
		pe.sees(`[\n ]\[prompt\] `)
		// With the echo off, what is typed goes one way only.
		pe.types("stty -echo; printf 'go%s' on; read word; stty echo; echo ${#word}\n")
		pe.sees(`goon`)
		pe.types(hiddenSecret + "\n")
		pe.sees(fmt.Sprintf(`%d\r*\n\[prompt\] `, len(hiddenSecret)))
		pe.types("exit\n")
		if code := pe.ends(); code != 0 {
			t.Errorf("exit: the client ended with %d", code)
		}
	}
	stock := q.stock(n.id)
	stock.Env = append(stock.Env, "AWS_ENDPOINT_URL_KMS="+q.url)
	pe := sit(t, stock, 132, 43)
	pe.sees(`This session is encrypted using AWS KMS\.`)
	uses(pe)
	for _, target := range []string{n.id, "front"} { // the key is for the id, also where a name is given
		pe = sit(t, q.shell(q.url, target), 132, 43)
		pe.sees(`This session is encrypted using AWS KMS\.`)
		uses(pe)
	}
	for _, text := range []string{"typed-secret", "-printed", hiddenSecret} {
		if wire.has(text) {
			t.Errorf("%q went over the wire in clear", text)
		}
	}
	if !wire.has(`KMSCipherTextKey`) {
		t.Error("the tap has not seen the handshake")
	}
	// The same without encryption shows that the tap sees both directions.
	uses(sit(t, q.shell(q.url, n.id, "-document", clear), 132, 43))
	if !wire.has(printedSecret) || !wire.has(hiddenSecret) {
		t.Error("the tap does not see what goes in clear")
	}
	p.history(n.id, 4)
}

// TestEncryptedCommand: a command session, standard error and exit code
// included.
func TestEncryptedCommand(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	q, wire := p.tapped()
	n := q.node(&ssm.CreateActivationInput{})
	id := p.key("alias/commands")
	doc := p.session("Encrypted", `{"schemaVersion":"1.0","description":"x","sessionType":"NonInteractiveCommands","inputs":{"kmsKeyId":"`+id+`"},
		"properties":{"linux":{"commands":"sh -c 'printf \"%s-%s\\n\" secret out; printf \"%s-%s\\n\" secret err >&2; exit 7'","separateOutputStream":true}}}`)
	cmd := q.stock(n.id, "--document-name", doc)
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL_KMS="+q.url)
	pe := sit(t, cmd, 132, 43)
	pe.sees(`secret-out(?s:.*)secret-err|secret-err(?s:.*)secret-out`)
	pe.sees(`EXIT_CODE: 7`)
	pe.ends()
	for _, text := range []string{"secret-out", "secret-err", "EXIT_CODE"} {
		if wire.has(text) {
			t.Errorf("%q went over the wire in clear", text)
		}
	}
	p.history(n.id, 1)
}

// TestEncryptionRefused: each way in which a session cannot be encrypted ends it
// with one sentence at the client, and nothing runs.
func TestEncryptionRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	lost := filepath.Join(t.TempDir(), "ran")
	profile := fmt.Sprintf(`"shellProfile":{"linux":"touch %s"}`, lost)
	doc := func(name, key string) string {
		return p.session(name, `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"`+key+`",`+profile+`}}`)
	}
	id := p.key("alias/off")
	p.awsJSON(nil, "kms", "disable-key", "--key-id", id)
	for _, tc := range []struct{ doc, says string }{
		{doc("Disabled", "alias/off"), `DisabledException`},
		{doc("Missing", "alias/nobody"), `NotFoundException`},
	} {
		stock := p.stock(n.id, "--document-name", tc.doc)
		stock.Env = append(stock.Env, "AWS_ENDPOINT_URL_KMS="+p.url)
		pe := sit(t, stock, 132, 43)
		pe.sees(tc.says)
		pe.ends()
		pe = sit(t, p.shell(p.url, n.id, "-document", tc.doc), 132, 43)
		pe.sees(`Failed to process action KMSEncryption: KMS key "alias/\w+": GenerateDataKey: ` + tc.says)
		if code := pe.ends(); code != 255 {
			t.Errorf("%s: our client ended with %d", tc.doc, code)
		}
	}
	p.history(n.id, 4)
	if _, err := os.Stat(lost); err == nil {
		t.Error("a shell was started all the same")
	}
	n.noShells()
}

// TestDeniedKey: a key whose policy denies the node, or the person, encrypts no
// session; both are told who was denied what, and what to allow.
func TestDeniedKey(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	doc := func(name, alias, denied, action string) string {
		p.awsJSON(nil, "kms", "put-key-policy", "--key-id", p.key(alias), "--policy-name", "default", "--policy", fmt.Sprintf(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"},
			{"Effect":"Deny","Principal":{"AWS":"%s"},"Action":"%s","Resource":"*"}]}`, denied, action))
		return p.session(name, shellWith(`"kmsKeyId":"`+alias+`",`))
	}
	node := doc("NodeDenied", "alias/node", "arn:aws:iam::000000000000:role/ssm-node", "kms:Decrypt")
	person := doc("PersonDenied", "alias/person", "arn:aws:iam::000000000000:user/default", "kms:GenerateDataKey")
	for _, tc := range []struct{ doc, says string }{
		{node, `the node cannot open the data key: KMS key "alias/node": Decrypt: AccessDeniedException: User: \S+/` + n.id +
			` is not authorized to perform: kms:Decrypt on resource: \S+ with an explicit deny in a resource-based policy .*\(allow these credentials`},
		{person, `KMS key "alias/person": GenerateDataKey: AccessDeniedException: User: \S+user/default is not authorized to perform: kms:GenerateDataKey`},
	} {
		pe := sit(t, p.shell(p.url, n.id, "-document", tc.doc), 132, 43)
		pe.sees(tc.says)
		if code := pe.ends(); code != 255 {
			t.Errorf("%s: our client ended with %d", tc.doc, code)
		}
		stock := p.stock(n.id, "--document-name", tc.doc)
		stock.Env = append(stock.Env, "AWS_ENDPOINT_URL_KMS="+p.url)
		pe = sit(t, stock, 132, 43)
		pe.sees(`is\s+not\s+authorized\s+to\s+perform:\s+kms:`)
		pe.ends()
	}
	n.noShells()
	for _, s := range p.history(n.id, 4) {
		if s.Status != types.SessionStatusFailed || !strings.Contains(aws.ToString(s.Details), "not authorized to perform: kms:") {
			t.Errorf("%s: %s", s.Status, aws.ToString(s.Details))
		}
	}
}

// TestChallengeRequired: with Kms.RequireKMSChallengeResponse our client gets
// in, the stock plugin, which does not know it, does not; and a node that
// cannot reach KMS says so.
func TestChallengeRequired(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.key("alias/shells")
	doc := p.session("Encrypted", shellWith(`"kmsKeyId":"alias/shells",`))
	n.term()
	p.configure(n.root, map[string]any{"Kms": map[string]any{"Endpoint": p.url, "RequireKMSChallengeResponse": true}})
	n.start()
	p.connected(n, types.ConnectionStatusConnected)
	pe := sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
	works(t, pe)
	pe.types("exit 3\n")
	if code := pe.ends(); code != 3 {
		t.Errorf("the client ended with %d", code)
	}
	stock := p.stock(n.id, "--document-name", doc)
	stock.Env = append(stock.Env, "AWS_ENDPOINT_URL_KMS="+p.url)
	pe = sit(t, stock, 132, 43)
	pe.sees(`set\s+Kms\.RequireKMSChallengeResponse\s+to\s+false`)
	pe.ends()

	n.term()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody serves
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p.configure(n.root, map[string]any{"Kms": map[string]any{"Endpoint": "http://" + l.Addr().String()}})
	n.start()
	p.connected(n, types.ConnectionStatusConnected)
	pe = sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
	pe.sees(`the node cannot open the data key: KMS key "alias/shells": Decrypt: ` + l.Addr().String() + ` cannot be reached`)
	if code := pe.ends(); code != 255 {
		t.Errorf("the client ended with %d", code)
	}
	n.noShells()
}

// TestKMSByCLI works the key service with the stock command line.
func TestKMSByCLI(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	id := p.key("alias/cli")
	var listed struct {
		Aliases []struct{ AliasName, TargetKeyId string }
		Keys    []struct{ KeyId string }
	}
	p.awsJSON(&listed, "kms", "list-aliases")
	p.awsJSON(&listed, "kms", "list-keys")
	if len(listed.Aliases) != 1 || listed.Aliases[0].TargetKeyId != id || len(listed.Keys) != 1 || listed.Keys[0].KeyId != id {
		t.Errorf("%+v", listed)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("a secret of the CLI"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sealed struct{ CiphertextBlob, KeyId string }
	p.awsJSON(&sealed, "kms", "encrypt", "--key-id", "alias/cli", "--plaintext", "fileb://"+plain, "--encryption-context", "site=lab")
	blob := filepath.Join(t.TempDir(), "blob")
	var raw []byte
	if err := json.Unmarshal([]byte(`"`+sealed.CiphertextBlob+`"`), &raw); err != nil || bytes.Contains(raw, []byte("secret")) {
		t.Fatalf("%q %v", raw, err)
	}
	if err := os.WriteFile(blob, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var opened struct{ Plaintext []byte }
	p.awsJSON(&opened, "kms", "decrypt", "--ciphertext-blob", "fileb://"+blob, "--encryption-context", "site=lab")
	if string(opened.Plaintext) != "a secret of the CLI" {
		t.Errorf("%q", opened.Plaintext)
	}
	for _, tc := range []struct {
		args []string
		code string
	}{
		{[]string{"kms", "decrypt", "--ciphertext-blob", "fileb://" + blob, "--encryption-context", "site=other"}, "InvalidCiphertextException"},
		{[]string{"kms", "describe-key", "--key-id", "alias/none"}, "NotFoundException"},
		{[]string{"kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", id}, "AlreadyExistsException"},
	} {
		if _, e, code := p.aws(tc.args...); code == 0 || !strings.Contains(e, tc.code) {
			t.Errorf("%v: exit %d, %s", tc.args, code, e)
		}
	}
	p.awsJSON(nil, "kms", "schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7")
	if _, e, code := p.aws("kms", "generate-data-key", "--key-id", id, "--number-of-bytes", "64"); code == 0 || !strings.Contains(e, "KMSInvalidStateException") {
		t.Errorf("exit %d, %s", code, e)
	}
	p.awsJSON(nil, "kms", "cancel-key-deletion", "--key-id", id)
	p.awsJSON(nil, "kms", "enable-key", "--key-id", id)
	p.awsJSON(nil, "kms", "generate-data-key", "--key-id", id, "--number-of-bytes", "64")
}
