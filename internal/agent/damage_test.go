package agent_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/credentials"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/identity"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/session"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/mgs"
)

// tally counts what the corruption of files did.
type tally struct {
	files, offsets, trials, whole, refused, panics, lost int
}

// damage tries every byte of raw changed in three ways, and raw cut at every
// length. try says whether the damage was refused, or what is wrong.
func (c *tally) damage(t *testing.T, name string, raw []byte, try func([]byte) (refused bool, err error)) {
	t.Helper()
	c.files++
	c.offsets += len(raw)
	attempt := func(b []byte, how string, at int) {
		defer func() {
			if p := recover(); p != nil {
				c.panics++
				t.Errorf("%s, %s at %d: panic: %v", name, how, at, p)
			}
		}()
		c.trials++
		refused, err := try(b)
		switch {
		case err != nil:
			c.lost++
			t.Errorf("%s, %s at %d: %v", name, how, at, err)
		case refused:
			c.refused++
		default:
			c.whole++
		}
	}
	for at := range raw {
		for _, mask := range []byte{0x01, 0x20, 0x80} {
			b := bytes.Clone(raw)
			b[at] ^= mask
			attempt(b, fmt.Sprintf("changed by %#x", mask), at)
		}
		attempt(bytes.Clone(raw[:at]), "cut", at)
	}
}

// remedy says whether an error tells what to do.
func remedy(err error) bool {
	text := err.Error()
	for _, word := range []string{"register", "restore", "is the endpoint right", "line ", "give ", "use ", "remove"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// The vault's keys that not every node has.
const (
	pendingKey  = "RegistrationKeyPending"
	formerPrint = "InstanceFingerprintFormer"
)

// estate is a registered node's files, and who it is.
type estate struct {
	files map[string]string
	id    identity.Identity
	key   *rsa.PrivateKey
	print string
	hw    identity.Hardware
}

// newEstate has an agent begin a command and end.
func newEstate(t *testing.T) estate {
	t.Helper()
	d := newDouble(t)
	n := newNode(t, d)
	n.register()
	stop := n.start()
	d.online()
	command := uuid.NewString()
	script, ran, open := gate(t.TempDir())
	d.push(command, shell(command, script...))
	pids := strings.Fields(lines(t, ran, 1)[0])
	stop() // the command goes on, with all its files
	t.Cleanup(func() {
		if err := os.WriteFile(open, nil, 0o600); err != nil {
			t.Error(err)
		}
		ended(t, pids...)
	})
	m := n.opt.Machine
	e := estate{files: map[string]string{}, hw: m.Hardware}
	err := filepath.WalkDir(m.Paths.Data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		e.files["/data"+filepath.ToSlash(strings.TrimPrefix(path, m.Paths.Data))] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e.addReply(t, command)
	e.addSession(t)
	e.addTraces(t)
	e.id, e.key, e.print, err = e.who(t.Context(), e.disk(t), config.Default())
	if err != nil || e.id.InstanceID != instance {
		t.Fatalf("%+v %v", e.id, err)
	}
	return e
}

// addReply has a reply wait in the outbox.
func (e estate) addReply(t *testing.T, command string) {
	t.Helper()
	dir := "/data/" + instance + "/outbox"
	disk := e.disk(t)
	box, err := outbox.Open(disk, dir, clock.Real{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = box.Put(outbox.Entry{ID: uuid.NewString(), JobID: command, Topic: "t", Content: "{}", Channel: job.ChannelMGS})
	if err = errors.Join(err, box.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := fsys.ReadFile(disk, dir+"/outbox.log", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	e.files[dir+"/outbox.log"] = string(b)
}

// addSession has a session that was begun.
func (e estate) addSession(t *testing.T) {
	t.Helper()
	const id = "ada-0123456789abcdef0"
	b, err := json.Marshal(session.Request{
		Version: session.Version, ID: id, Accepted: time.Unix(1, 0).UTC(), Type: mgs.SessionStandardStream,
		Node: session.Node{InstanceID: instance, Region: "us-east-1", Endpoint: "https://gateway.test", Platform: session.Linux},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.files["/data/"+instance+"/session/sessions/"+id+"/request.json"] = string(b)
}

// addTraces has a change of keys that was cut off, and a fingerprint that was
// put aside, in the vault.
func (e estate) addTraces(t *testing.T) {
	t.Helper()
	disk := e.disk(t)
	v := vault.New(disk, "/data")
	for to, from := range map[string]string{pendingKey: vault.RegistrationKey, formerPrint: vault.InstanceFingerprint} {
		b, err := v.Get(from)
		if err == nil {
			err = v.Put(to, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Manifest", "Store/" + pendingKey, "Store/" + formerPrint} {
		b, err := fsys.ReadFile(disk, "/data/Vault/"+name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		e.files["/data/Vault/"+name] = string(b)
	}
}

// disk has the files, with some in place of theirs.
func (e estate) disk(t *testing.T, change ...string) *fsystest.Disk {
	t.Helper()
	disk := fsystest.NewDisk()
	all := maps.Clone(e.files)
	for i := 0; i < len(change); i += 2 {
		all[change[i]] = change[i+1]
	}
	for name, text := range all {
		if err := fsys.MkdirAll(disk, filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := fsys.WriteInPlace(disk, name, []byte(text), false); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// who is what an agent finds at its start, up to the first token call.
func (e estate) who(ctx context.Context, disk *fsystest.Disk, cfg config.Config) (identity.Identity, *rsa.PrivateKey, string, error) {
	v := vault.New(disk, "/data")
	id, key, err := identity.Resolve(ctx, cfg, v, identity.Cloud{})
	if err != nil || key == nil {
		return id, key, "", err
	}
	print, err := identity.Fingerprint(ctx, v, e.hw, clock.Real{}, slog.New(slog.DiscardHandler))
	return id, key, print, err
}

// same says whether an outcome is the node, or a refusal that keeps it.
func (e estate) same(id identity.Identity, key *rsa.PrivateKey, print string, err error) (refused bool, wrong error) {
	switch {
	case errors.Is(err, identity.ErrNone):
		return false, fmt.Errorf("the node has forgotten that it is registered: %w", err)
	case err != nil && !remedy(err):
		return false, fmt.Errorf("no remedy is named: %w", err)
	case err != nil:
		return true, nil
	case id != e.id || !key.Equal(e.key) || print != e.print:
		return false, fmt.Errorf("it has become %+v with fingerprint %s in silence", id, print)
	}
	return false, nil
}

// TestDamagedFiles: whatever happens to a file that the agent reads, it does
// not crash, does not become another in silence, and names a remedy; with the
// file restored it is the node that it was.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	e := newEstate(t)
	var c tally
	e.damageVault(t, &c)
	e.damageConfig(t, &c)
	damageCredentials(t, &c)
	e.damageState(t, &c)
	t.Logf("%d files, %d offsets, %d trials: %d refused, %d without effect, %d panics, %d identities lost",
		c.files, c.offsets, c.trials, c.refused, c.whole, c.panics, c.lost)
	if c.refused == 0 || c.whole == 0 {
		t.Errorf("too little was tried: %+v", c)
	}
}

func (e estate) damageVault(t *testing.T, c *tally) {
	t.Helper()
	for _, name := range []string{"/data/Vault/Manifest", "/data/Vault/Store/RegistrationKey", "/data/Vault/Store/InstanceFingerprint",
		"/data/Vault/Store/" + pendingKey, "/data/Vault/Store/" + formerPrint, "/data/registration"} {
		raw, ok := e.files[name]
		if !ok {
			t.Fatalf("%s is not there", name)
		}
		disk := e.disk(t)
		c.damage(t, name, []byte(raw), func(b []byte) (bool, error) {
			if err := fsys.WriteInPlace(disk, name, b, false); err != nil {
				return false, err
			}
			refused, wrong := e.same(e.who(t.Context(), disk, config.Default()))
			now, err := fsys.ReadFile(disk, name, 1<<20)
			if wrong == nil && (err != nil || !bytes.Equal(now, b)) {
				wrong = fmt.Errorf("the damaged file was written over: %w", err)
			}
			return refused, wrong
		})
		if err := fsys.WriteInPlace(disk, name, []byte(raw), false); err != nil {
			t.Fatal(err)
		}
		if refused, wrong := e.same(e.who(t.Context(), disk, config.Default())); refused || wrong != nil {
			c.lost++
			t.Errorf("%s, restored: refused %v, %v", name, refused, wrong)
		}
	}
}

func (e estate) damageConfig(t *testing.T, c *tally) {
	t.Helper()
	const text = `{"Mds":{"CommandWorkersLimit":5},"Mgs":{"Endpoint":"wss://mgs.test"},
"Identity":{"ConsumptionOrder":["OnPrem","CustomIdentity"],"CustomIdentities":[{"InstanceID":"mi-0ccccccccccccccccc","Region":"eu-west-1"}]},
"Profile":{"KeyAutoRotateDays":30},"ssmagent":{"Audit":{"MaxMiB":64}}}
`
	disk := e.disk(t)
	type outcome struct {
		refused bool
		wrong   error
	}
	seen := map[string]outcome{} // by what decides who the node is
	c.damage(t, "amazon-ssm-agent.json", []byte(text), func(b []byte) (bool, error) {
		cfg, warnings, err := config.Load(bytes.NewReader(b))
		if err != nil {
			if !remedy(err) {
				return false, fmt.Errorf("neither line nor remedy: %w", err)
			}
			return true, nil
		}
		who := fmt.Sprint(cfg.Identity, cfg.Agent)
		o, known := seen[who]
		if !known {
			o.refused, o.wrong = e.same(e.who(t.Context(), disk, cfg))
			seen[who] = o
		}
		if o.wrong != nil && len(warnings) > 0 {
			return true, nil // not in silence
		}
		return o.refused, o.wrong
	})
}

// damageCredentials: the operator's file may say anything, but no panic and no
// half of a key comes of it.
func damageCredentials(t *testing.T, c *tally) {
	t.Helper()
	const text = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI\n\n# of the lab\n[lab]\nrole_arn=arn:aws:iam::111122223333:role/lab\nsource_profile=default\n"
	nobody := func(context.Context, ...string) ([]byte, error) { return nil, credentials.ErrNoProgram }
	c.damage(t, "credentials", []byte(text), func(b []byte) (bool, error) {
		chain, err := credentials.New(credentials.Machine{
			Getenv: func(name string) string { return map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}[name] },
			ReadFile: func(name string) ([]byte, error) {
				if strings.HasSuffix(name, "credentials") {
					return b, nil
				}
				return nil, fs.ErrNotExist
			},
			Home: "/root", Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Run: nobody,
			Shell:  func(context.Context, string) ([]byte, error) { return nil, credentials.ErrNoProgram },
			Direct: &http.Client{},
		}, credentials.Options{Region: "eu-west-1"})
		if err != nil {
			return true, nil
		}
		got, err := chain.Retrieve(t.Context())
		if err == nil && (got.AccessKeyID == "" || got.SecretAccessKey == "") {
			return false, errors.New("half a key was given")
		}
		return err != nil, nil
	})
}

// damageState: what commands, replies and the audit log have on disk is read,
// or said to be damaged, or taken for torn.
func (e estate) damageState(t *testing.T, c *tally) {
	t.Helper()
	disk, seen := e.disk(t), map[string]bool{}
	for name, raw := range e.files {
		read := stateReader(disk, name)
		if read == nil || raw == "" {
			continue
		}
		seen[strings.TrimPrefix(name, "/data/"+instance+"/")] = true
		seen[filepath.Base(name)] = true
		written := strings.TrimRight(raw, "\x00") // without what is only reserved
		c.damage(t, name, []byte(written), func(b []byte) (bool, error) {
			b = append(b, raw[len(written):]...)
			if err := fsys.WriteInPlace(disk, name, b, false); err != nil {
				return false, err
			}
			return read() != nil, nil
		})
		if err := fsys.WriteInPlace(disk, name, []byte(raw), false); err != nil {
			t.Fatal(err)
		}
		if err := read(); err != nil {
			t.Errorf("%s, restored: %v", name, err)
		}
	}
	if !seen["request.json"] || !seen["events"] || !seen["outbox.log"] || !seen["session/sessions/ada-0123456789abcdef0/request.json"] {
		t.Errorf("of a command only these were there: %v", seen)
	}
	if refused, wrong := e.same(e.who(t.Context(), disk, config.Default())); refused || wrong != nil {
		t.Errorf("after all that: refused %v, %v", refused, wrong)
	}
}

// stateReader is how the agent reads the file at its start; nil: it does not,
// or only tells that it is there.
func stateReader(disk fsys.FS, name string) func() error {
	log, dir := slog.New(slog.DiscardHandler), filepath.Dir(name)
	d := job.Dir{FS: disk, Path: dir}
	switch base := filepath.Base(name); {
	case base == "request.json" && filepath.Base(filepath.Dir(dir)) == "sessions":
		return func() error { _, err := session.Dir{FS: disk, Path: dir}.Load(); return err }
	case base == "request.json":
		return func() error { _, err := d.Load(); return err }
	case base == "events":
		return func() error { _, err := d.Progress(1); return err }
	case base == "outbox.log":
		return func() error {
			box, err := outbox.Open(disk, dir, clock.Real{}, log)
			if err != nil {
				return err
			}
			return box.Close()
		}
	case filepath.Base(dir) == "audit":
		return func() error {
			l := audit.New(audit.Options{Dir: dir, FS: disk, Clock: clock.Real{}, Log: log, Lock: func(string) (func(), error) { return func() {}, nil }})
			r, err := l.Verify()
			if err == nil && len(r.Faults) > 0 {
				err = errors.New(r.Faults[0].String())
			}
			return err
		}
	}
	return nil
}
