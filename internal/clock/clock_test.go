package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// fired says whether the timer's channel holds a time.
func fired(t Timer) bool {
	select {
	case <-t.C():
		return true
	default:
		return false
	}
}

func TestFake(t *testing.T) {
	t.Parallel()
	start := time.Unix(100, 0)
	f := NewFake(start)
	a, b := f.NewTimer(time.Second), f.NewTimer(2*time.Second)
	f.Advance(time.Second - 1)
	if fired(a) || fired(b) {
		t.Fatal("a timer fired before its time")
	}
	f.Advance(1)
	if !fired(a) || fired(b) {
		t.Fatal("want the first timer only")
	}
	if a.Stop() {
		t.Error("Stop says that a fired timer was active")
	}
	if !b.Stop() {
		t.Error("Stop says that a pending timer was not active")
	}
	f.Advance(time.Hour)
	if fired(a) || fired(b) {
		t.Error("a stopped timer fired")
	}
	if want := start.Add(time.Second + time.Hour); !f.Now().Equal(want) {
		t.Errorf("Now is %v, want %v", f.Now(), want)
	}
	if !fired(f.NewTimer(0)) || !fired(f.NewTimer(-1)) {
		t.Error("a timer without delay did not fire")
	}
}

func TestFakeReset(t *testing.T) {
	t.Parallel()
	f := NewFake(time.Unix(100, 0))
	a := f.NewTimer(time.Second)
	if !a.Reset(time.Minute) {
		t.Error("Reset says that a pending timer was not active")
	}
	f.Advance(time.Second)
	if fired(a) {
		t.Error("fired at the time before Reset")
	}
	f.Advance(time.Minute)
	if a.Reset(time.Second) {
		t.Error("Reset says that a fired timer was active")
	}
	if fired(a) {
		t.Error("the stale time is still there after Reset")
	}
	f.Advance(time.Second)
	if !fired(a) {
		t.Error("did not fire after Reset")
	}
}

func TestFakeAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(time.Unix(100, 0))
		done := make(chan error, 1)
		go func() { done <- f.Await(t.Context(), 2) }()
		f.NewTimer(time.Second)
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("one timer was enough")
		}
		f.NewTimer(time.Second)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Await(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestReal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c Clock = Real{}
		start := c.Now()
		tm := c.NewTimer(time.Minute)
		if !tm.Reset(time.Hour) {
			t.Error("Reset says that a pending timer was not active")
		}
		<-tm.C()
		if got := c.Now().Sub(start); got != time.Hour {
			t.Errorf("fired after %v", got)
		}
		if tm.Stop() {
			t.Error("Stop says that a fired timer was active")
		}
	})
}

func TestOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := Off{By: -time.Hour}
		if got := time.Since(o.Now()); got != time.Hour {
			t.Errorf("off by %v", got)
		}
		start, timer := time.Now(), o.NewTimer(time.Minute)
		if <-timer.C(); time.Since(start) != time.Minute {
			t.Errorf("a minute is %v", time.Since(start))
		}
	})
}
