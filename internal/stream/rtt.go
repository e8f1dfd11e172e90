package stream

import "time"

// The constants of the stock estimator.
const (
	initialRTT  = 100 * time.Millisecond
	initialRTO  = 200 * time.Millisecond
	granularity = 10 * time.Millisecond
	maxRTO      = time.Second
	// minResend is the interval of the stock programs' check for resends: no
	// frame is sent again earlier, however short the measured round trip.
	minResend = 100 * time.Millisecond
)

// Estimator measures the round trip and derives the retransmission timeout
// just as the stock programs do. The zero value is not ready: use NewEstimator.
type Estimator struct {
	rtt, variation float64 // nanoseconds
	timeout        time.Duration
}

// NewEstimator returns an Estimator without a sample.
func NewEstimator() Estimator {
	return Estimator{rtt: float64(initialRTT), timeout: initialRTO}
}

// Sample takes one measured round trip.
func (e *Estimator) Sample(r time.Duration) {
	diff := e.rtt - float64(r)
	if diff < 0 {
		diff = -diff
	}
	e.variation = 0.75*e.variation + 0.25*diff
	e.rtt = 0.875*e.rtt + 0.125*float64(r)
	timeout := e.rtt + max(float64(granularity), 4*e.variation)
	e.timeout = time.Duration(min(timeout, float64(maxRTO)))
}

// RTT is the smoothed round trip.
func (e Estimator) RTT() time.Duration { return time.Duration(e.rtt) }

// Timeout is how long to wait for an acknowledgement, at most a second.
func (e Estimator) Timeout() time.Duration { return e.timeout }
