package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/command"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/worker"
	"ssmagent/platform/proc"
)

const cutID = "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60"

// errDark is what a disk without power says.
var errDark = errors.New("the power is off")

// world is a machine that loses power, and the service that it reports to: the
// command goes the whole way from delivery to the acknowledged reply, with the
// worker as a goroutine on the same disk.
type world struct {
	t      *testing.T
	disk   *fsystest.Disk
	dir    string // of orchestration; scripts' output is no part of the promise
	deaf   string // the sync that does nothing, as site calls it
	at     int    // everything ends before this operation; 0: never
	mu     sync.Mutex
	ops    int
	lived  int             // operations until all was settled
	sites  map[string]bool // that were passed
	away   bool            // nobody takes replies
	off    func()          // ends the present life
	dark   bool
	acked  bool // by deliver alone
	runs   map[string]int
	told   map[string][]doc.Status // results of the steps and of the document that the service has
	faults []string
}

func newWorld(t *testing.T, tr trial) *world {
	w := &world{t: t, disk: fsystest.NewDisk(), dir: tr.dir, away: tr.away, deaf: tr.deaf, sites: map[string]bool{}, runs: map[string]int{}, told: map[string][]doc.Status{}}
	for _, d := range []string{"/data", tr.dir} {
		if err := mkdirs(w.disk, d); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func mkdirs(d *fsystest.Disk, dir string) error {
	if dir == "/" {
		return nil
	}
	if err := mkdirs(d, filepath.Dir(dir)); err != nil {
		return err
	}
	if err := d.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return d.SyncDir(filepath.Dir(dir))
}

func (w *world) fault(format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, a...))
}

// before is asked by the tap.
func (w *world) before(kind, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dark {
		return errDark
	}
	if w.ops++; w.ops == w.at {
		w.dark = true
		w.off()
		return errDark
	}
	if kind != "sync" && kind != "syncdir" {
		return nil
	}
	at := site(kind)
	w.sites[at] = true
	if at == w.deaf {
		return errSkip
	}
	return nil
}

// site names the place in the code that syncs.
func site(kind string) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		name, ours := strings.CutPrefix(f.Function, "ssmagent/internal/")
		if ours && !strings.HasPrefix(name, "agent_test.") || !more {
			return fmt.Sprintf("%s in %s, line %d", kind, name, f.Line)
		}
	}
}

// script is the step of the worlds; its runs are no part of the disk.
type script struct{ w *world }

// Run implements step.Plugin.
func (s script) Run(_ context.Context, in step.Input) step.Outcome {
	s.w.mu.Lock()
	s.w.runs[in.StepID]++
	s.w.mu.Unlock()
	return step.Outcome{Status: doc.Success}
}

// inside is a worker that is a goroutine of this process.
type inside struct {
	pid  int
	kill context.CancelFunc
	done chan struct{}
}

func (i *inside) ID() proc.ID              { return proc.ID{PID: i.pid, Start: 1} }
func (i *inside) Kill() error              { i.kill(); return nil }
func (i *inside) KillGroup() error         { return i.Kill() }
func (i *inside) Signal(proc.Signal) error { return i.Kill() }
func (i *inside) Usage() time.Duration     { return 0 }
func (i *inside) Wait(ctx context.Context) (proc.State, error) {
	select {
	case <-i.done:
		return proc.State{}, nil
	case <-ctx.Done():
		return proc.State{}, ctx.Err()
	}
}

// twin opens a pipe's end a second time: whoever starts a worker closes the first.
func twin(f *os.File, flag int) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flag, 0)
}

// silent is a listener that nobody dials.
type silent struct {
	once sync.Once
	done chan struct{}
}

func (s *silent) Accept() (net.Conn, error) { <-s.done; return nil, net.ErrClosed }
func (s *silent) Close() error              { s.once.Do(func() { close(s.done) }); return nil }
func (s *silent) Addr() net.Addr            { return &net.UnixAddr{} }

func (w *world) start(ctx context.Context, fs tap, wg *sync.WaitGroup) func(proc.Spec) (proc.Process, error) {
	return func(s proc.Spec) (proc.Process, error) {
		in, err := twin(s.Stdin, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		out, err := twin(s.Stdout, os.O_WRONLY)
		if err != nil {
			return nil, err
		}
		wctx, kill := context.WithCancel(ctx)
		p := &inside{pid: 1 << 22, kill: kill, done: make(chan struct{})}
		wg.Go(func() {
			defer close(p.done)
			defer in.Close()
			defer out.Close()
			worker.Main(wctx, s.Args[1:], worker.Deps{
				FS: fs, Stdin: in, Stdout: out, Stderr: io.Discard,
				Listen:    func(string) (net.Listener, error) { return &silent{done: make(chan struct{})}, nil },
				Plugins:   func(job.Request, aws.CredentialsProvider) step.Set { return step.Set{"aws:runShellScript": script{w}} },
				Subreaper: func() error { return nil }, KillDescendants: func(context.Context, []proc.ID) error { return nil },
			})
		})
		return p, nil
	}
}

// life is the machine from one power-up to the next. It returns whether
// everything is settled.
func (w *world) life() (settled bool) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	w.mu.Lock()
	w.off, w.dark = cancel, false
	w.mu.Unlock()
	fs := tap{w.disk, w.before}
	log := slog.New(slog.DiscardHandler)
	box, err := outbox.Open(fs, "/data/node/outbox", clock.Real{}, log)
	if err != nil {
		return false
	}
	replies := &command.Replies{Agent: doc.AgentInfo{Name: "a"}, Clock: clock.Real{}, Outbox: box}
	q := job.New(job.Options{
		Dir: "/data/node/document/jobs", FS: fs, Clock: clock.Real{}, Log: log, Sink: replies, Limits: job.Limits{Workers: 2, Buffer: 3, Retries: 3}, Executable: "/agent",
		Start: w.start(ctx, fs, &wg), Find: func(proc.ID) (proc.Process, error) { return nil, proc.ErrGone },
		KillMarked: func(context.Context, string, string) error { return nil },
		Dial:       func(context.Context, string) (net.Conn, error) { return nil, errDark },
	})
	wg.Go(func() { _ = q.Run(ctx) })
	if !w.away {
		wg.Go(func() { w.receive(ctx, box) })
	}
	w.deliver(ctx, command.New(command.Options{Queue: q, Replies: replies, Clock: clock.Real{}, Log: log,
		Node: job.Node{InstanceID: instance, PlatformType: "linux"}, Orchestration: w.dir}))
	for ctx.Err() == nil {
		if waiting, running := q.Live(); waiting+running == 0 && (w.away || box.Len() == 0) {
			return true
		}
		<-time.After(50 * time.Microsecond)
	}
	return false
}

// deliver has both channels bring the command at the same time, as they do in
// the minute in which one takes over from the other.
func (w *world) deliver(ctx context.Context, s *command.Service) {
	before := w.acked
	content := `{"CommandId":"` + cutID + `","DocumentContent":{"schemaVersion":"2.2","mainSteps":[
		{"action":"aws:runShellScript","name":"a","inputs":{}},{"action":"aws:runShellScript","name":"b","inputs":{}}]}}`
	accepted := make(chan mgs.AckCode, 2)
	for _, channel := range []string{job.ChannelMGS, job.ChannelMDS} {
		go func() {
			accepted <- s.Accept(ctx, command.Delivery{JobID: jobID(cutID), Topic: "aws.ssm.sendCommand.1", Content: content, Channel: channel}).Code
		}()
	}
	taken := 0
	for range 2 {
		code := <-accepted
		if code == mgs.AckSuccessful {
			taken++
		}
		w.acked = w.acked || code == mgs.AckSuccessful || code == mgs.AckDuplicate
	}
	if taken > 1 || before && taken > 0 {
		w.fault("accepted %d times although it was promised before: %v", taken, before)
	}
}

// receive is the service: what it has acknowledged it has for good.
func (w *world) receive(ctx context.Context, box *outbox.Outbox) {
	for {
		e, err := box.Next(ctx)
		if err != nil {
			return
		}
		var r doc.Reply
		if err := json.Unmarshal([]byte(e.Content), &r); err != nil {
			w.fault("a reply that is none: %v", err)
		}
		w.mu.Lock()
		for id, s := range r.RuntimeStatus {
			w.tell(id, s.Status)
		}
		if r.DocumentStatus.Terminal() {
			w.tell("document", r.DocumentStatus)
		}
		w.mu.Unlock()
		_ = box.Done(e.ID) // a disk without power; it comes again
	}
}

// tell notes a result. The caller holds mu.
func (w *world) tell(of string, s doc.Status) {
	if !slices.Contains(w.told[of], s) {
		w.told[of] = append(w.told[of], s)
	}
}

// death is one that a world is to suffer.
type death struct {
	at    int  // before which operation, counted over all lives
	power bool // what is not synced is lost, else only the processes are
}

// play lives until all is settled, cuts the power once more and looks that
// nothing comes back to life. It returns what was broken.
func (w *world) play(keep fsystest.Keep, deaths ...death) []string {
	for n, settled := 0, false; !settled; n++ {
		power := true
		w.at = 0
		if len(deaths) > 0 {
			w.at, power, deaths = deaths[0].at, deaths[0].power, deaths[1:]
		} else {
			w.away = false
		}
		settled = w.life() && !w.away
		if !settled && power {
			w.disk.Crash(keep)
		}
		if n > 5 {
			w.fault("it does not come to an end")
			break
		}
	}
	w.lived = w.ops
	w.at = 0
	w.disk.Crash(keep)
	w.life()
	for _, of := range []string{"document", "a", "b"} {
		if len(w.told[of]) != 1 {
			w.fault("%d results of %s: %v", len(w.told[of]), of, w.told[of])
		}
	}
	for id, n := range w.runs {
		if n > 1 {
			w.fault("the script of step %s ran %d times", id, n)
		}
	}
	if slices.Contains(w.told["document"], doc.Success) && (w.runs["a"] != 1 || w.runs["b"] != 1) {
		w.fault("Success is told of scripts that ran so often: %v", w.runs)
	}
	return w.faults
}

// cuts are the ways in which a disk comes back.
func (tr trial) cuts(seed int) map[string]fsystest.Keep {
	switch {
	case tr.kill && tr.deaf == "": // many moments, so the worst disk only
		return map[string]fsystest.Keep{"nothing": fsystest.Nothing()}
	case tr.kill:
		return map[string]fsystest.Keep{"nothing": fsystest.Nothing(), "some": fsystest.Some(uint64(seed)), "other": fsystest.Some(uint64(seed) + 1<<32)}
	}
	return map[string]fsystest.Keep{"nothing": fsystest.Nothing(), "all": fsystest.All(), "some": fsystest.Some(uint64(seed))}
}

// needProc skips where a pipe cannot be opened a second time.
func needProc(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc, for workers that are goroutines")
	}
	dir := filepath.Join(t.TempDir(), "orchestration")
	if err := os.MkdirAll(filepath.Join(dir, cutID), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// trial is a series of deaths of one kind.
type trial struct {
	dir  string
	deaf string // the sync that is left out
	// kill: the processes are killed before every operation, and the power
	// fails some operations after that. Else only the power fails.
	kill bool
	// away: nobody takes replies until after the last death.
	away bool
}

// soon bounds how long after a kill the power fails, where a sync is left out.
const soon = 24

// run goes through all moments, each with each kind of disk, until one of them
// breaks a promise. It returns what is broken, and how many deaths there were.
func (tr trial) run(t *testing.T, sites map[string]bool) (n int, faults []string) {
	for at := 1; ; at++ {
		past := false
		for after := 1; ; after++ {
			deaths := []death{{at: at, power: true}}
			if tr.kill {
				deaths = []death{{at: at}, {at: at + after, power: true}}
			}
			ended := true
			for name, keep := range tr.cuts(100*at + after) {
				w := newWorld(t, tr)
				faults := w.play(keep, deaths...)
				n += len(deaths)
				past, ended = w.lived < at, ended && w.lived < deaths[len(deaths)-1].at
				maps.Copy(sites, w.sites)
				if len(faults) > 0 {
					return n, append(faults, fmt.Sprintf("%+v, of the unsynced %s kept", deaths, name))
				}
			}
			if !tr.kill || ended || past || tr.deaf != "" && after == soon {
				break
			}
		}
		if past {
			return n, nil
		}
	}
}

// TestPowerCuts: whenever the power fails, and whenever the processes are
// killed and the power fails after that, the command ends with exactly one true
// result and no script runs twice. And each sync counts: where any one of them
// is left out, some death breaks a promise.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	dir := needProc(t)
	sites := map[string]bool{}
	for name, tr := range map[string]trial{"power": {dir: dir}, "kill -9, then power": {dir: dir, kill: true}} {
		n, faults := tr.run(t, sites)
		t.Logf("%s: %d deaths", name, n)
		for _, f := range faults {
			t.Error(f)
		}
	}
	t.Logf("%d places sync", len(sites))
	// The count of workers only bounds how often a machine that crashes in each
	// run tries again: TestSecondWorkerIsOnRecordAfterACrash of package job.
	maps.DeleteFunc(sites, func(site string, _ bool) bool { return strings.Contains(site, "job.Dir.saveWorker") })
	for _, site := range slices.Sorted(maps.Keys(sites)) {
		var faults []string
		all := 0
		for _, tr := range []trial{{}, {kill: true, away: true}} {
			tr.dir, tr.deaf = dir, site
			var n int
			n, faults = tr.run(t, map[string]bool{})
			if all += n; len(faults) > 0 {
				t.Logf("without %q, death %d: %s", site, all, strings.Join(faults, "; "))
				break
			}
		}
		if len(faults) == 0 {
			t.Errorf("without %q nothing breaks in %d deaths: it is not needed, or not tested", site, all)
		}
	}
}
