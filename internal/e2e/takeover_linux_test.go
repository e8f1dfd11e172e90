package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// stockPrint is the fingerprint of the stock registration.
const stockPrint = "5b7c1c9e-2f0d-4a77-9d53-0a4f1f2f7c11"

// stockRegistration registers as the stock agent does and lays its files out:
// an anonymous call, then vault, manifest and registration file.
func (p *plane) stockRegistration() *node {
	t := p.t
	t.Helper()
	n := &node{t: t, root: t.TempDir()}
	n.endAll()
	p.configure(n.root, nil)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	n.id = p.registerByHand(base64.StdEncoding.EncodeToString(pub))
	machineID, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		machineID, _ = os.ReadFile("/var/lib/dbus/machine-id")
	}
	if err := os.MkdirAll(n.vault("Store"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.write("Manifest", map[string]string{"RegistrationKey": "/var/lib/amazon/ssm/Vault/Store/RegistrationKey",
		"InstanceFingerprint": "/var/lib/amazon/ssm/Vault/Store/InstanceFingerprint"})
	n.write("Store/RegistrationKey", map[string]string{"instanceID": n.id, "region": "us-east-1", "instanceType": "", "availabilityZone": "",
		"privateKey": base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)), "publicKey": "", "privateKeyType": "Rsa",
		"privateKeyCreatedDate": "2026-03-09 10:11:12.123456789 +0100 CET"})
	n.write("Store/InstanceFingerprint", map[string]any{"fingerprint": stockPrint, "similarityThreshold": 40, "hardwareHash": map[string]string{
		"machine-id": string(machineID), "processor-hash": "EkM6uolxnnpY6HB6nLhEKQ==", "memory-hash": "1B2M2Y8AsgTpgAmY7PhCfg==", "bios-hash": "",
		"system-hash": "", "hostname-info": "of-before", "ipaddress-info": "192.0.2.10", "macaddr-info": "02:00:5e:00:53:01", "disk-info": "1B2M2Y8AsgTpgAmY7PhCfg=="}})
	if err := os.WriteFile(filepath.Join(n.root, "var/lib/amazon/ssm/registration"), []byte(`{"ManagedInstanceID":"`+n.id+`","Region":"us-east-1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // the stock agent takes the execute bit from its folders too
		for _, dir := range []string{"Store", "."} {
			if err := os.Chmod(n.vault(dir), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// registerByHand makes the unsigned call with an activation of its own.
func (p *plane) registerByHand(publicKey string) (id string) {
	p.t.Helper()
	code, activation := p.activation(&ssm.CreateActivationInput{})
	body, err := json.Marshal(map[string]string{"ActivationCode": code, "ActivationId": activation, "Fingerprint": stockPrint, "PublicKey": publicKey, "PublicKeyType": "Rsa"})
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.RegisterManagedInstance")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ InstanceId string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || !strings.HasPrefix(out.InstanceId, "mi-") {
		p.t.Fatalf("%s %v", resp.Status, err)
	}
	return out.InstanceId
}

// TestTakeOverFromStock: a registration of the stock agent works where it lies,
// and what is left is still one that the stock agent can read.
func TestTakeOverFromStock(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.stockRegistration()
	before := readRecord(t, n.vault("Store/RegistrationKey"))
	n.start()
	n.line("control channel open")
	p.online(n.id)
	p.works(n)
	if strings.Contains(n.output(), "clone") {
		t.Errorf("it takes itself for a clone:\n%s", n.output())
	}
	after := readRecord(t, n.vault("Store/RegistrationKey"))
	for k, v := range before {
		if after[k] != v {
			t.Errorf("%s was %v and is %v", k, v, after[k])
		}
	}
	// The nine properties are there for the stock agent, which looks at the
	// machine id, then at the address, then counts.
	got := n.print()
	if got.Fingerprint != stockPrint || got.SimilarityThreshold != 40 || got.HardwareHash["processor-hash"] != "EkM6uolxnnpY6HB6nLhEKQ==" {
		t.Errorf("%+v", got)
	}
	host, err := os.Hostname()
	if err != nil || got.HardwareHash["hostname-info"] != host || got.HardwareHash["ipaddress-info"] == "192.0.2.10" {
		t.Errorf("not brought up to date: %+v %v", got.HardwareHash, err)
	}
	for _, name := range []string{"processor-hash", "memory-hash", "bios-hash", "system-hash", "disk-info", "hostname-info", "ipaddress-info", "macaddr-info", "machine-id"} {
		if _, ok := got.HardwareHash[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"Manifest", "Store/RegistrationKey", "Store/InstanceFingerprint"} {
		if info, err := os.Stat(n.vault(name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	out, rc := n.cli("fingerprint")
	if rc != 0 || !strings.Contains(out, "This is the registered machine") || !strings.Contains(out, "of the stock agent, not compared") {
		t.Errorf("exit %d\n%s", rc, out)
	}
	n.term()
	n.start() // and it stays so
	n.line("control channel open")
	if again := n.print(); again.Fingerprint != stockPrint {
		t.Errorf("%+v", again)
	}
}

// TestRegistrationFromTheServiceManager: with the private key among the
// service's credentials nothing of it is in the vault, and what the node runs
// is not told where it is.
func TestRegistrationFromTheServiceManager(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	given := t.TempDir()
	if err := os.Rename(n.vault("Store/RegistrationKey"), filepath.Join(given, "ssmagent.RegistrationKey")); err != nil {
		t.Fatal(err)
	}
	n.program = startAs(t, exec.Command("/usr/bin/env", "CREDENTIALS_DIRECTORY="+given, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("control channel open")
	inv := p.invocation(p.send(n.id, "echo at ${CREDENTIALS_DIRECTORY:-nowhere}"), n.id)
	if out := aws.ToString(inv.StandardOutputContent); out != "at nowhere\n" {
		t.Errorf("%s: %q", inv.Status, out)
	}
	if _, err := os.Stat(n.vault("Store/RegistrationKey")); !os.IsNotExist(err) {
		t.Errorf("the key is in the vault again: %v", err)
	}
}

func readRecord(t *testing.T, name string) map[string]any {
	t.Helper()
	var m map[string]any
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
