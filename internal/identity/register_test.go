package identity

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"ssmagent/fingerprint"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

func read(t *testing.T, f fsys.FS, name string) string {
	t.Helper()
	b, err := fsys.ReadFile(f, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRegister is worked example 10.1 and what it leaves on disk.
func TestRegister(t *testing.T) {
	t.Parallel()
	s, disk := newService(t), newDisk(t)
	d := deps(s, disk)
	d.newKey = nil // a real one
	d.StockHardware = func(context.Context) map[string]string { return map[string]string{"bios-hash": "digest"} }
	id, err := Register(t.Context(), d, activation())
	if err != nil || id != (Identity{nodeID, "eu-west-1", config.OnPrem}) {
		t.Fatalf("%+v, %v", id, err)
	}
	want := ssm.RegisterManagedInstanceInput{ActivationCode: code, ActivationId: actID, Fingerprint: s.print, PublicKey: s.register.PublicKey, PublicKeyType: "Rsa"}
	if diff := cmp.Diff(want, *s.register); diff != "" || s.signed {
		t.Errorf("signed %v, %s", s.signed, diff)
	}
	if got := strings.Join(s.calls, " "); got != "RegisterManagedInstance RequestManagedInstanceRoleToken" {
		t.Errorf("calls %s", got)
	}
	if got := read(t, disk, "/data/registration"); got != `{"ManagedInstanceID":"`+nodeID+`","Region":"eu-west-1"}` {
		t.Errorf("registration file %s", got)
	}
	var rec map[string]string
	if err := json.Unmarshal([]byte(read(t, disk, "/data/Vault/Store/RegistrationKey")), &rec); err != nil {
		t.Fatal(err)
	}
	key, err := sigv4.DecodePrivateKey(rec["privateKey"])
	if err != nil || !key.PublicKey.Equal(s.public) {
		t.Errorf("the key on disk is not the service's: %v", err)
	}
	created, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", rec["privateKeyCreatedDate"])
	if err != nil || time.Since(created) > time.Minute {
		t.Errorf("created %q: %v", rec["privateKeyCreatedDate"], err)
	}
	delete(rec, "privateKey")
	delete(rec, "privateKeyCreatedDate")
	delete(rec, "ssmagentSHA256")
	if diff := cmp.Diff(map[string]string{"instanceID": nodeID, "region": "eu-west-1", "instanceType": "", "availabilityZone": "",
		"publicKey": "", "privateKeyType": "Rsa"}, rec); diff != "" {
		t.Error(diff)
	}
	print, err := fingerprint.Load([]byte(read(t, disk, "/data/Vault/Store/InstanceFingerprint")))
	if err != nil || print.Fingerprint != s.print || print.SimilarityThreshold != 40 || print.HardwareHash["bios-hash"] != "digest" || print.HardwareHash["hostname-info"] != "node-a" {
		t.Errorf("%+v, %v", print, err)
	}
	for _, name := range []string{"registration", "Vault/Store/RegistrationKey"} {
		if info, err := disk.Lstat(data + "/" + name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
	// Again, on the same machine: the fingerprint stays.
	first := s.print
	o := activation()
	o.Yes = true
	if _, err := Register(t.Context(), deps(s, disk), o); err != nil || s.print != first {
		t.Errorf("again: %v, fingerprint %s then %s", err, first, s.print)
	}
	// On another machine it does not.
	d = deps(s, disk)
	d.Hardware = facts("machine-id", "other\n")
	d.Clock = instant{}
	if _, err := Register(t.Context(), d, o); err != nil || s.print == first {
		t.Errorf("elsewhere: %v, the fingerprint is the same", err)
	}
}

// instant is a clock on which no wait takes time.
type instant struct{ clock.Real }

func (instant) NewTimer(time.Duration) clock.Timer { return clock.Real{}.NewTimer(0) }

func TestRegisterWithRole(t *testing.T) {
	t.Parallel()
	s, disk := newService(t), newDisk(t)
	d := deps(s, disk)
	o := RegisterOptions{Role: "NodeRole", Tags: []ssm.Tag{{Key: "site", Value: "lab"}}, Region: "eu-west-1", DisableSimilarityCheck: true}
	if _, err := Register(t.Context(), d, o); err == nil || !strings.Contains(err.Error(), "needs AWS credentials") {
		t.Errorf("without credentials: %v", err)
	}
	d.Ambient = func(context.Context, string) (aws.CredentialsProvider, error) {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "s"}, nil
		}), nil
	}
	if _, err := Register(t.Context(), d, o); err != nil {
		t.Fatal(err)
	}
	want := ssm.RegisterManagedInstanceInput{IamRole: "NodeRole", Tags: o.Tags, Fingerprint: s.print, PublicKey: s.register.PublicKey, PublicKeyType: "Rsa"}
	if diff := cmp.Diff(want, *s.register); diff != "" || !s.signed {
		t.Errorf("signed %v, %s", s.signed, diff)
	}
	if rec, err := fingerprint.Load([]byte(read(t, disk, "/data/Vault/Store/InstanceFingerprint"))); err != nil || rec.SimilarityThreshold != -1 {
		t.Errorf("%+v, %v", rec, err)
	}
}

// TestRegistrationRefused: one sentence with cause and remedy, the code not in
// it, and the disk as it was, whether or not there was a registration.
func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*service, *RegisterDeps, *RegisterOptions)
		says   []string
	}{
		"wrong code": {func(s *service, _ *RegisterDeps, _ *RegisterOptions) {
			s.refuse = refuseOp("RegisterManagedInstance", 400, "InvalidActivation")
		},
			[]string{"error registering the instance with AWS SSM.", "the service says InvalidActivation", "check -code, -id and -region"}},
		"code in the answer": {func(s *service, _ *RegisterDeps, _ *RegisterOptions) {
			s.refuse = refuseOp("RegisterManagedInstance", 400, "Invalid"+code)
		},
			[]string{"Invalid[code]"}},
		"no answer": {func(s *service, _ *RegisterDeps, _ *RegisterOptions) {
			s.refuse = refuseOp("RegisterManagedInstance", 599, "")
		},
			[]string{"the call to ssm.test broke off"}},
		"token refused": {func(s *service, _ *RegisterDeps, _ *RegisterOptions) {
			s.refuse = refuseOp("RequestManagedInstanceRoleToken", 400, "AccessDeniedException")
		},
			[]string{"The new registration does not work", "AccessDeniedException", "nothing was changed here; deregister " + nodeID}},
		"fingerprint refused": {func(s *service, _ *RegisterDeps, _ *RegisterOptions) {
			s.refuse = refuseOp("RequestManagedInstanceRoleToken", 400, fingerprintMismatch)
		},
			[]string{"MachineFingerprintDoesNotMatch"}},
		"bad region": {func(_ *service, _ *RegisterDeps, o *RegisterOptions) { o.Region = "eu west" }, []string{"not a region", "-region"}},
		"no code":    {func(_ *service, _ *RegisterDeps, o *RegisterOptions) { o.Code = "" }, []string{"-region, and either -code and -id or -role"}},
		"bad endpoint": {func(_ *service, d *RegisterDeps, _ *RegisterOptions) { d.Config.Ssm.Endpoint = "ftp://x" },
			[]string{"Ssm.Endpoint", "correct the configuration"}},
		"no hardware": {func(_ *service, d *RegisterDeps, _ *RegisterOptions) {
			d.Hardware = func(context.Context) (map[string]string, error) { return nil, errors.New("Winmgmt is not running") }
		}, []string{"error generating instance fingerprint.", "Winmgmt is not running"}},
	} {
		for _, before := range []string{"", "registered"} {
			t.Run(name+" "+before, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s, disk := newService(t), newDisk(t)
					if before != "" {
						if _, err := Register(t.Context(), deps(s, disk), activation()); err != nil {
							t.Fatal(err)
						}
					}
					was := content(t, disk)
					d, o := deps(s, disk), activation()
					o.Yes = true
					tc.change(s, &d, &o)
					_, err := Register(t.Context(), d, o)
					for _, says := range tc.says {
						if err == nil || !strings.Contains(err.Error(), says) {
							t.Errorf("%v, want %q", err, says)
						}
					}
					if err != nil && strings.Contains(err.Error(), code) {
						t.Errorf("the code is in %v", err)
					}
					if diff := cmp.Diff(was, content(t, disk)); diff != "" {
						t.Errorf("half done: %s", diff)
					}
				})
			})
		}
	}
}

func refuseOp(op string, status int, code string) func(string, int) (int, string) {
	return func(o string, _ int) (int, string) {
		if o != op {
			return 0, ""
		}
		return status, code
	}
}

func write(t *testing.T, f fsys.FS, name string, b []byte) {
	t.Helper()
	if err := fsys.WriteFile(f, name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// content is every file of the data directory.
func content(t *testing.T, disk *fsystest.Disk) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range []string{data, data + "/Vault", data + "/Vault/Store"} {
		entries, err := disk.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				files[dir+"/"+e.Name()] = read(t, disk, dir+"/"+e.Name())
			}
		}
	}
	return files
}

// TestRegisterOnBadDisk fails each operation of the disk in turn: the old
// registration or the new one works afterwards, never neither.
func TestRegisterOnBadDisk(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{false, true} {
		for n, ended := 1, false; !ended; n++ {
			s := newService(t)
			disk := newDisk(t)
			if _, err := Register(t.Context(), deps(s, disk), activation()); err != nil {
				t.Fatal(err)
			}
			oldKey, oldPrint := s.public, s.print
			if crash {
				disk.StopAt(disk.Ops() + n)
			} else {
				at := disk.Ops() + n
				disk.Fail(func(op fsystest.Op) error {
					if op.N == at {
						return errors.New("input/output error")
					}
					return nil
				})
			}
			o := activation()
			o.Yes = true
			_, err := Register(t.Context(), deps(s, disk), o)
			ended = err == nil
			disk.Fail(nil)
			if crash {
				disk.Crash(fsystest.Nothing())
			}
			id, key, rerr := Resolve(t.Context(), config.Default(), vault.New(disk, data), Cloud{})
			print, perr := Fingerprint(t.Context(), vault.New(disk, data), facts(), instant{}, quiet())
			if rerr != nil || perr != nil || id.InstanceID != nodeID {
				t.Fatalf("operation %d, crash %v: %+v, %v, %v", n, crash, id, rerr, perr)
			}
			if !key.PublicKey.Equal(oldKey) && !key.PublicKey.Equal(s.public) || print != oldPrint && print != s.print {
				t.Errorf("operation %d, crash %v: key or fingerprint of nobody", n, crash)
			}
			if !crash && err != nil && strings.Contains(err.Error(), "nothing was changed") && (!key.PublicKey.Equal(oldKey) || print != oldPrint) {
				t.Errorf("operation %d: %v, and yet something was changed", n, err)
			}
			if err == nil && !key.PublicKey.Equal(s.public) {
				t.Errorf("operation %d, crash %v: success, and the old key", n, crash)
			}
		}
	}
}

func TestNotWritable(t *testing.T) {
	t.Parallel()
	s, disk := newService(t), newDisk(t)
	disk.SetReadOnly(true)
	_, err := Register(t.Context(), deps(s, disk), activation())
	if err == nil || !strings.HasPrefix(err.Error(), "Unable to save registration information.") || !strings.HasSuffix(err.Error(), "Try running as sudo/administrator.") {
		t.Errorf("%v", err)
	}
	if len(s.calls) != 0 {
		t.Errorf("the service was asked: %v", s.calls)
	}
}

// TestClockOffByAnHour: the answer to the anonymous call tells the time, so
// that the first signature is right.
func TestClockOffByAnHour(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		s, disk := newService(t), newDisk(t)
		s.off = off
		if _, err := Register(t.Context(), deps(s, disk), activation()); err != nil {
			t.Errorf("off by %v: %v", off, err)
		}
		c, err := NewProvider(node(t, s, disk)).Credentials(t.Context())
		if err != nil || c.AccessKeyID != "ASIAEXAMPLE" {
			t.Errorf("off by %v: %v", off, err)
		}
	}
}

func TestSecondRegistrationAsks(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, disk := registeredNode(t, s)
	for answer, want := range map[string]string{
		"y\n": "", "Yes\n": "", "yellow": "", "n\n": "Registration canceled by user", "No": "canceled", "\n": "Invalid response received.",
		"yes please\n": "Invalid response received.", "maybe\n": "Invalid response received.", "": "-y",
	} {
		o := activation()
		var asked strings.Builder
		o.Confirm = Prompt(strings.NewReader(answer), &asked)
		_, err := Register(t.Context(), deps(s, disk), o)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answer %q: %v", answer, err)
		}
		if asked.String() != "\nInstance already registered. Would you like to override existing with new registration information? [Yes/No]: " {
			t.Errorf("asked %q", asked.String())
		}
	}
	if _, err := Register(t.Context(), deps(s, disk), activation()); err == nil || !strings.Contains(err.Error(), "-y") {
		t.Errorf("nobody to ask: %v", err)
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, disk := registeredNode(t, s)
	v := vault.New(disk, data)
	if err := Clear(v, clock.Real{}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, disk, "/data/Vault/Store/InstanceFingerprint"); !strings.HasPrefix(got, `{"fingerprint":"","hardwareHash":null,"similarityThreshold":0,`) {
		t.Errorf("fingerprint %s", got)
	}
	if got := read(t, disk, "/data/Vault/Store/RegistrationKey"); !strings.HasPrefix(got, `{"instanceID":"","region":"","instanceType":"","availabilityZone":"","privateKey":"","publicKey":"","privateKeyType":"","privateKeyCreatedDate":"`) {
		t.Errorf("registration %s", got)
	}
	if _, _, err := Resolve(t.Context(), config.Default(), v, Cloud{}); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "-register") {
		t.Errorf("%v", err)
	}
	if _, ok, err := Registered(v); ok || err != nil {
		t.Errorf("registered %v, %v", ok, err)
	}
	if _, err := Register(t.Context(), deps(s, disk), activation()); err != nil {
		t.Errorf("register after clear: %v", err)
	}
}
