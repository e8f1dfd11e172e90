package identity

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/fingerprint"
	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
	"ssmagent/internal/secret"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

// RegisterDeps are what Register needs of the world.
type RegisterDeps struct {
	Config   config.Config
	Vault    *vault.Vault
	FS       fsys.FS
	Data     string // the instance data store, an absolute path
	Hardware Hardware
	// StockHardware collects the stock agent's digests for a new fingerprint
	// record, so that going back to it works; nil: not wanted.
	StockHardware func(context.Context) map[string]string
	HTTP          *http.Client
	UserAgent     string
	Clock         clock.Clock
	Log           *slog.Logger
	// Ambient finds the credentials that sign a registration with a role; nil
	// where there are none.
	Ambient func(ctx context.Context, region string) (aws.CredentialsProvider, error)

	newKey func() (*rsa.PrivateKey, error) // for tests; nil: sigv4.NewKey
}

// RegisterOptions are the command line's.
type RegisterOptions struct {
	Code, ID string // of an activation
	Role     string // instead of Code and ID: the call is signed
	Tags     []ssm.Tag
	Region   string
	// Yes replaces a registration without asking.
	Yes bool
	// Confirm asks whether to replace old; see Prompt. Nil: no.
	Confirm                func(old Identity) (bool, error)
	DisableSimilarityCheck bool
}

// ErrCanceled says that the operator kept the old registration.
var ErrCanceled = errors.New("Registration canceled by user") //nolint:staticcheck // the stock agent's words

// ErrIncomplete says that options are missing.
var ErrIncomplete = errors.New("a registration needs -region, and either -code and -id or -role")

func (o RegisterOptions) complete() bool {
	return o.Region != "" && (o.Code != "" && o.ID != "" || o.Role != "")
}

// Register makes this machine a node: it makes a key, registers, proves the
// registration by a first role token, and only then replaces what was there.
// On an error the old registration, if any, is as it was. Errors begin with
// the stock agent's words and name cause and remedy; the activation code is in
// none of them.
func Register(ctx context.Context, d RegisterDeps, o RegisterOptions) (Identity, error) {
	if !o.complete() {
		return Identity{}, ErrIncomplete
	}
	if !regionRule().MatchString(o.Region) {
		return Identity{}, fmt.Errorf("%.80q is not a region; give one like eu-west-1 with -region", o.Region)
	}
	if err := o.confirm(d.Vault); err != nil {
		return Identity{}, err
	}
	key, err := makeKey(d.newKey)
	if err != nil {
		return Identity{}, fmt.Errorf("error generating signing keys. %w", err)
	}
	if err := d.Vault.CheckWritable(); err != nil {
		return Identity{}, fmt.Errorf("Unable to save registration information. %w\nTry running as sudo/administrator.", err) //nolint:staticcheck // the stock agent's words
	}
	print, fresh, err := claim(ctx, d.Vault, d.Hardware, d.Clock)
	if err != nil {
		return Identity{}, fmt.Errorf("error generating instance fingerprint. %w", err)
	}
	if o.DisableSimilarityCheck {
		print.SimilarityThreshold, fresh = fingerprint.Disabled, true
	}
	if fresh && d.StockHardware != nil {
		print = print.Fill(d.StockHardware(ctx))
	}
	r := registrar{RegisterDeps: d, o: o, skew: &ssmclient.Skew{}}
	id, err := r.call(ctx, key, print.Fingerprint)
	if err != nil {
		return Identity{}, fmt.Errorf("error registering the instance with AWS SSM. %w", redact(err, o.Code))
	}
	if err := r.prove(ctx, id, key, print.Fingerprint); err != nil {
		return Identity{}, err
	}
	if err := r.save(id, key, print, fresh); err != nil {
		return Identity{}, fmt.Errorf("error persisting the instance registration information. %w; %s", err, orphan(id))
	}
	if err := r.writeInfo(id); err != nil {
		return Identity{}, fmt.Errorf("Failed to write registration info to file. %w; the registration of %s itself is saved", err, id.InstanceID) //nolint:staticcheck // the stock agent's words
	}
	d.Log.Info("Successfully registered the instance with AWS SSM using Managed instance-id: " + id.InstanceID)
	return id, nil
}

func (o RegisterOptions) confirm(v *vault.Vault) error {
	old, registered, err := Registered(v)
	if err != nil && !errors.Is(err, errDamaged) {
		return err // cannot even be looked at; a damaged one is what -register mends
	}
	if !registered || o.Yes {
		return nil
	}
	if o.Confirm == nil {
		return fmt.Errorf("this machine is registered as %s already; replace that with -y", old.InstanceID)
	}
	ok, err := o.Confirm(old)
	if err != nil {
		return err
	}
	if !ok {
		return ErrCanceled
	}
	return nil
}

func makeKey(f func() (*rsa.PrivateKey, error)) (*rsa.PrivateKey, error) {
	if f == nil {
		f = sigv4.NewKey
	}
	return f()
}

// registrar is one registration.
type registrar struct {
	RegisterDeps

	o    RegisterOptions
	skew *ssmclient.Skew
}

func (r registrar) call(ctx context.Context, key *rsa.PrivateKey, print string) (Identity, error) {
	endpoint, err := r.Config.Endpoint(config.ServiceSSM, r.o.Region)
	if err != nil {
		return Identity{}, err
	}
	pub, err := sigv4.EncodePublicKey(&key.PublicKey)
	if err != nil {
		return Identity{}, err
	}
	c := &ssmclient.Client{
		HTTP: r.HTTP, Endpoint: endpoint, Service: config.ServiceSSM, TargetPrefix: ssm.TargetPrefix, UserAgent: r.UserAgent,
		Clock: r.Clock, Log: r.Log, Skew: r.skew, Retry: ssmclient.TokenRetry(),
	}
	in := ssm.RegisterManagedInstanceInput{Fingerprint: print, PublicKey: pub, PublicKeyType: sigv4.KeyType}
	if r.o.Role != "" {
		in.IamRole, in.Tags = r.o.Role, r.o.Tags
		if c.Signer, err = r.ambient(ctx); err != nil {
			return Identity{}, err
		}
	} else {
		in.ActivationCode, in.ActivationId = secret.Text(r.o.Code), r.o.ID
	}
	var out ssm.RegisterManagedInstanceOutput
	if err := c.Call(ctx, "RegisterManagedInstance", in, &out); err != nil {
		return Identity{}, r.advise(err)
	}
	if off := r.skew.Offset(); off != 0 {
		r.Log.Warn("this machine's clock is wrong; signing with the service's time, please set the clock", "behind", off.Round(time.Second))
	}
	id := Identity{out.InstanceId, r.o.Region, config.OnPrem}
	if err := id.check(); err != nil {
		return Identity{}, fmt.Errorf("the answer of %s: %w; is the endpoint right?", endpoint, err)
	}
	return id, nil
}

func (r registrar) ambient(ctx context.Context) (ssmclient.Signer, error) {
	if r.Ambient == nil {
		return nil, errors.New("a registration with -role needs AWS credentials, and none can be found here; use an activation (-code and -id)")
	}
	creds, err := r.Ambient(ctx, r.o.Region)
	if err != nil {
		return nil, fmt.Errorf("find AWS credentials to register with -role: %w", err)
	}
	region := r.Config.SigningRegion(config.ServiceSSM, r.o.Region)
	return ssmclient.CredentialsSigner{Credentials: creds, Region: region, Clock: r.Clock, Skew: r.skew}, nil
}

// advise adds what the operator can do about a refusal.
func (r registrar) advise(err error) error {
	if _, refused := errors.AsType[*ssmclient.Error](err); !refused || ssmclient.Retryable(err) {
		return err
	}
	if r.o.Role != "" {
		return fmt.Errorf("%w; check -role, -region and the credentials that sign the call", err)
	}
	return fmt.Errorf("%w; check -code, -id and -region, or make a new activation (aws ssm create-activation)", err)
}

// prove gets a first role token. A service that has only just learnt of the
// node may need some seconds.
func (r registrar) prove(ctx context.Context, id Identity, key *rsa.PrivateKey, print string) error {
	endpoint, err := r.Config.Endpoint(config.ServiceSSM, id.Region)
	if err != nil {
		return err
	}
	o := Options{
		Identity: id, Endpoint: endpoint, Region: r.Config.SigningRegion(config.ServiceSSM, id.Region), UserAgent: r.UserAgent,
		HTTP: r.HTTP, Clock: r.Clock, Log: r.Log, Skew: r.skew,
	}
	policy := backoff.Policy{First: time.Second, Factor: 2, Retries: 4}
	err = backoff.Do(ctx, r.Clock, policy, func(ctx context.Context) error {
		_, _, err := o.token(ctx, key, print)
		if ssmclient.Code(err) == fingerprintMismatch {
			return backoff.Stop(err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("error registering the instance with AWS SSM. The new registration does not work: %w; %s", err, orphan(id))
	}
	return nil
}

func orphan(id Identity) string {
	return fmt.Sprintf("nothing was changed here; deregister %s (aws ssm deregister-managed-instance) and register again", id.InstanceID)
}

// save replaces fingerprint and registration; the fingerprint first, since the
// one of a machine that was registered before is the same or is of no use.
func (r registrar) save(id Identity, key *rsa.PrivateKey, print fingerprint.Record, fresh bool) error {
	rec, err := registration{InstanceID: id.InstanceID, Region: id.Region}.withKey(key, r.Clock.Now())
	if err != nil {
		return err
	}
	var before []saved
	for _, name := range []string{vault.InstanceFingerprint, formerKey, vault.RegistrationKey} {
		value, err := r.Vault.Get(name)
		before = append(before, saved{name, value, err})
	}
	if fresh {
		err = storeFingerprint(r.Vault, print)
	}
	if err == nil { // it was of the registration that goes
		err = r.Vault.Delete(formerKey)
	}
	if err == nil {
		err = rec.store(r.Vault, vault.RegistrationKey)
	}
	if err != nil {
		// A write that failed may be there all the same.
		for _, old := range before {
			err = errors.Join(err, old.restore(r.Vault))
		}
		return err
	}
	if err := r.Vault.Delete(pendingKey); err != nil {
		r.Log.Warn("a key of the old registration stays in the vault", "error", err)
	}
	return nil
}

// saved is what the vault had under a key.
type saved struct {
	key   string
	value []byte
	err   error
}

func (s saved) restore(v *vault.Vault) error {
	switch {
	case s.err == nil:
		return v.Put(s.key, s.value)
	case errors.Is(s.err, vault.ErrNotFound):
		return v.Delete(s.key)
	}
	return nil // it could not be read, so nothing was written over it that could be put back
}

// writeInfo tells other programs of the machine who it is.
func (r registrar) writeInfo(id Identity) error {
	raw, err := json.Marshal(struct{ ManagedInstanceID, Region string }{id.InstanceID, id.Region})
	if err != nil {
		return err
	}
	return fsys.WriteFile(r.FS, filepath.Join(r.Data, "registration"), raw, 0o600)
}

// redact keeps secret out of what is printed, whoever put it there.
func redact(err error, secret string) error {
	if secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), secret, "[code]"))
}

// Clear forgets the registration and the fingerprint, as -register -clear
// does. The registration file stays, as with the stock agent.
func Clear(v *vault.Vault, clk clock.Clock) error {
	if err := storeFingerprint(v, fingerprint.Record{}); err != nil {
		return fmt.Errorf("clear the fingerprint: %w", err)
	}
	rec := registration{PrivateKeyCreatedDate: clk.Now().Local().Format(createdFormat)}
	if err := rec.store(v, vault.RegistrationKey); err != nil {
		return fmt.Errorf("clear the registration: %w", err)
	}
	return errors.Join(v.Delete(pendingKey), v.Delete(formerKey))
}
