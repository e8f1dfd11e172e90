package ssmclient

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
)

func TestReach(t *testing.T) {
	t.Parallel()
	lost := error(&Unreachable{Reason: "no"})
	for name, tc := range map[string]struct {
		err   error        // after which is waited
		news  func(*Reach) // a minute later
		early bool
	}{
		"nothing new":              {lost, func(*Reach) {}, false},
		"a call is answered":       {lost, func(r *Reach) { r.Observe(nil) }, true},
		"a call is refused":        {lost, func(r *Reach) { r.Observe(&Error{Code: AccessDenied}) }, true},
		"a call gets no answer":    {lost, func(r *Reach) { r.Observe(lost) }, false},
		"a call is given up":       {lost, func(r *Reach) { r.Observe(context.Canceled) }, false},
		"the network changed":      {lost, (*Reach).NetworkChanged, true},
		"it was refused":           {&Error{Code: AccessDenied}, (*Reach).NetworkChanged, false},
		"nobody has lost anything": {errors.New("x"), func(r *Reach) { r.Observe(nil) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := new(Reach)
				r.Observe(tc.err)
				start, done := time.Now(), make(chan time.Duration)
				go func() {
					err := r.After(t.Context(), clock.Real{}, time.Hour, tc.err)
					if err != nil {
						t.Error(err)
					}
					done <- time.Since(start)
				}()
				<-time.After(time.Minute)
				tc.news(r)
				if took := <-done; (took <= time.Minute+settle) != tc.early || took > time.Hour {
					t.Errorf("waited %v", took)
				}
			})
		})
	}
}

func TestReachEnds(t *testing.T) {
	t.Parallel()
	var none *Reach
	none.Observe(nil)
	none.NetworkChanged()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	for _, r := range []*Reach{nil, new(Reach)} {
		if err := r.After(ctx, clock.Real{}, time.Hour, &Unreachable{}); !errors.Is(err, why) {
			t.Error(err)
		}
	}
}
