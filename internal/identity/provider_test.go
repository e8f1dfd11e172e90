package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
)

const tokenOp, keyOp = "RequestManagedInstanceRoleToken", "UpdateManagedInstancePublicKey"

// bubble runs f with a registered node, forgetting the registration's calls.
func bubble(t *testing.T, f func(t *testing.T, s *service, o Options, disk *fsystest.Disk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		o, disk := registeredNode(t, s)
		s.calls, s.at = nil, nil
		f(t, s, o, disk)
	})
}

// running runs p until the returned function is called.
func running(t *testing.T, p *Provider) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
}

// after lets d of the bubble's time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestOneCallForAll(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		all := make(chan struct{})
		o.Fingerprint = func(context.Context) (string, error) {
			<-all
			return s.print, nil
		}
		p := NewProvider(o)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if c, err := p.Credentials(t.Context()); err != nil || c.SessionToken != "token" || !c.CanExpire {
					t.Errorf("%+v, %v", c, err)
				}
			})
		}
		synctest.Wait() // everybody asks before anybody is answered
		close(all)
		wg.Wait()
		if n := s.count(tokenOp); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestWaiterOutlivesCaller: whose call it was may go away; who waits for it
// makes its own.
func TestWaiterOutlivesCaller(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		asked := make(chan struct{}, 1)
		o.Fingerprint = func(ctx context.Context) (string, error) {
			select {
			case asked <- struct{}{}:
				<-ctx.Done()
				return "", ctx.Err()
			default:
				return s.print, nil
			}
		}
		p := NewProvider(o)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Credentials(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := p.Credentials(t.Context()); err != nil {
				t.Errorf("the second: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

func TestRefreshedAtHalfLife(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		start := time.Now()
		stop := running(t, NewProvider(o))
		after(100 * time.Minute)
		stop()
		for i, want := range []time.Duration{0, 30 * time.Minute, time.Hour, 90 * time.Minute} {
			if i >= len(s.at) || s.at[i].Sub(start) != want {
				t.Fatalf("calls at %v since %v", s.at, start)
			}
		}
		if len(s.at) != 4 {
			t.Errorf("%d calls", len(s.at))
		}
	})
}

// TestExpiredIsNeverGiven: credentials serve while they hold, whatever the
// refresh says, and not a second longer.
func TestExpiredIsNeverGiven(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		p := NewProvider(o)
		stop := running(t, p)
		defer stop()
		after(time.Second)
		s.refusing(refuseOp(tokenOp, 500, "InternalServerError"))
		after(59 * time.Minute)
		if _, err := p.Credentials(t.Context()); err != nil {
			t.Errorf("they still hold: %v", err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://ssm.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Signer(p, "eu-west-1").Sign(t.Context(), r, nil, "ssm"); err != nil || !strings.Contains(r.Header.Get("Authorization"), "ASIAEXAMPLE/") {
			t.Errorf("%v, %v", r.Header, err)
		}
		after(time.Minute)
		r.Header.Del("Authorization")
		if err := Signer(p, "eu-west-1").Sign(t.Context(), r, nil, "ssm"); err == nil || r.Header.Get("Authorization") != "" || !strings.Contains(err.Error(), "InternalServerError") {
			t.Errorf("signed with expired credentials: %v", err)
		}
		s.refusing(nil)
		after(31 * time.Minute)
		if _, err := p.Credentials(t.Context()); err != nil {
			t.Errorf("after it healed: %v", err)
		}
	})
}

// TestBackOff holds the stock agent's table.
func TestBackOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status   int
		code     string
		low, top []time.Duration // of the waits after the failures
	}{
		"denied":      {400, "AccessDeniedException", seconds(1500, 1500), seconds(1799, 1799)},
		"fingerprint": {400, fingerprintMismatch, seconds(1500), seconds(1799)},
		"refused":     {400, "ValidationException", seconds(11, 12, 14, 18), seconds(20.2, 21.4, 23.8, 28.6)},
		"unanswered":  {599, "", seconds(1+3.1, 2+3.1, 4+3.1), seconds(1.2+3.72, 2.4+3.72, 4.8+3.72)}, // with the retries of the call
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
				s.refuse = func(string, int) (int, string) { return tc.status, tc.code }
				per := 1
				if tc.status == 599 {
					per = 6
				}
				stop := running(t, NewProvider(o))
				after(2 * time.Hour)
				stop()
				for i := range tc.low {
					wait := s.at[(i+1)*per].Sub(s.at[i*per])
					if wait < tc.low[i] || wait > tc.top[i] {
						t.Errorf("attempt %d after %v, want %v to %v", i+1, wait, tc.low[i], tc.top[i])
					}
				}
			})
		})
	}
}

func seconds(all ...float64) []time.Duration {
	out := make([]time.Duration, len(all))
	for i, s := range all {
		out[i] = time.Duration(s * float64(time.Second))
	}
	return out
}

// TestCallersDoNotStorm: during the back-off callers get the failure at once.
func TestCallersDoNotStorm(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		s.refuse = refuseOp(tokenOp, 400, "AccessDeniedException")
		p := NewProvider(o)
		for range 10 {
			if _, err := p.Credentials(t.Context()); ssmclient.Code(err) != ssmclient.AccessDenied {
				t.Errorf("%v", err)
			}
		}
		if n := s.count(tokenOp); n != 1 {
			t.Errorf("%d calls", n)
		}
		s.refuse = nil
		after(30 * time.Minute)
		if _, err := p.Credentials(t.Context()); err != nil {
			t.Errorf("after the back-off: %v", err)
		}
	})
}

func TestUselessTokens(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]time.Duration{"expired": -time.Minute, "about to": 5 * time.Second} {
		bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
			s.life = life
			stop := running(t, NewProvider(o))
			after(650 * time.Second)
			stop()
			if n := s.count(tokenOp); n != 3 { // every 300 s
				t.Errorf("%s: %d calls", name, n)
			}
		})
	}
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		p := NewProvider(o)
		for i, want := range []int{1, 1, 2} {
			if _, err := p.Credentials(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := s.count(tokenOp); n != want {
				t.Errorf("%d: %d calls, want %d", i, n, want)
			}
			if i == 1 {
				after(time.Minute)
			}
			p.Invalidate() // the first time they are too young
		}
	})
}

// late is hardware that reads right only after n attempts.
func late(n int) Hardware {
	return func(ctx context.Context) (map[string]string, error) {
		if n--; n >= 0 {
			return facts("machine-id", "not yet")(ctx)
		}
		return facts()(ctx)
	}
}

func TestSetThreshold(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, disk := registeredNode(t, s)
	v := vault.New(disk, data)
	for n, says := range map[int]string{
		-1: "", 1: "", 100: "",
		0:   "Error setting the SimilarityThreshold. Invalid Similarity Threshold value of 0. Value must be between 1 and 100 or -1 (check disabled)",
		101: "101", -2: "-2",
	} {
		if err := SetThreshold(v, n); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if err := SetThreshold(v, 77); err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Fingerprint         string
		SimilarityThreshold int
	}
	if err := json.Unmarshal([]byte(read(t, disk, "/data/Vault/Store/InstanceFingerprint")), &rec); err != nil || rec.SimilarityThreshold != 77 || rec.Fingerprint != s.print {
		t.Errorf("%+v, %v", rec, err)
	}
	const none = "Error setting the SimilarityThreshold. Unable to set similarity threshold due to, save called with empty fingerprint key"
	if err := SetThreshold(vault.New(newDisk(t), data), 40); err == nil || err.Error() != none {
		t.Errorf("no record: %v", err)
	}
}

// TestShare: every token is shared once, and what could not be is tried again,
// without harm to the credentials.
func TestShare(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *service, o Options, _ *fsystest.Disk) {
		var mu sync.Mutex
		var at []time.Duration
		start, fail := time.Now(), true
		o.Share = func(c aws.Credentials, retrieved time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			if !c.HasKeys() || !retrieved.Before(c.Expires) {
				t.Errorf("%+v at %v", c, retrieved)
			}
			at = append(at, time.Since(start))
			if fail {
				return errors.New("the disk is full")
			}
			return nil
		}
		p := NewProvider(o)
		defer running(t, p)()
		after(90 * time.Second)
		if _, err := p.Credentials(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		fail = false
		mu.Unlock()
		after(59 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []time.Duration{0, time.Minute, 2 * time.Minute, 30 * time.Minute, time.Hour}; !slices.Equal(at, want) {
			t.Errorf("shared after %v, want %v", at, want)
		}
		if n := s.count(tokenOp); n != 3 {
			t.Errorf("%d tokens", n)
		}
	})
}
