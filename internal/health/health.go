// Package health tells the service that the node lives: an empty ping that
// decides whether the agent may start, then full pings for as long as it runs.
package health

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// Pinger pings. Ready, Reach, Rand, Zone and ZoneID may be left out.
type Pinger struct {
	Client       *ssmclient.Client
	InstanceID   string
	AgentName    string
	AgentVersion string
	// Info is read anew for every ping: names and addresses change.
	Info func() platform.Info
	// Channel is the channel that commands come by: "", "ec2messages" or
	// "ssmmessages".
	Channel func() string
	// Zone is empty but on EC2.
	Zone, ZoneID string
	Interval     time.Duration // between full pings
	// Told is called with the outcome of every ping; it may be left out.
	Told func(error)
	// Ready is called once, after the first ping that was answered.
	Ready func()
	// Reach cuts waits short that follow a ping without an answer.
	Reach *ssmclient.Reach
	Clock clock.Clock
	Log   *slog.Logger
	Rand  func() float64 // [0,1); nil: math/rand/v2
}

// Run pings until ctx ends, whose cause it returns. While the service refuses
// the first ping, the node hibernates: it calls nothing else and tries again
// ever more rarely.
func (p Pinger) Run(ctx context.Context) error {
	if err := p.wake(ctx); err != nil {
		return err
	}
	if p.Ready != nil {
		p.Ready()
	}
	// The pings of many nodes that start together spread over the interval.
	wait := time.Duration(p.random() * float64(p.Interval))
	for lost := false; ; {
		err := p.ping(ctx, p.full())
		switch {
		case err != nil && ctx.Err() == nil:
			p.Log.Warn("health ping", "error", err)
		case err == nil && lost:
			p.Log.Info("health pings are answered again")
		}
		lost = err != nil
		if err := p.Reach.After(ctx, p.Clock, wait, err); err != nil {
			return err
		}
		wait = p.Interval
	}
}

// wake pings until the service answers.
func (p Pinger) wake(ctx context.Context) error {
	refused, unanswered := 0, 0
	for {
		err := p.ping(ctx, p.empty())
		if err == nil {
			if refused+unanswered > 0 {
				p.Log.Info("the service answers; the agent starts")
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var wait time.Duration
		next := "again_in"
		if _, ok := errors.AsType[*ssmclient.Unreachable](err); ok {
			wait = unreached().Delay(unanswered, p.Rand)
			unanswered++
		} else {
			wait = hibernation(refused)
			refused++
			next = "hibernating_for"
		}
		p.Log.Warn("the service does not take this node's ping; nothing starts before it does", "error", err, next, wait.Round(time.Second))
		if err := p.Reach.After(ctx, p.Clock, wait, err); err != nil {
			return err
		}
	}
}

// hibernation is the wait after refusal n, the first being 0, as
// stock agents wait: 300 s; then 600, 1200 and 2400 s, each three times; then
// 3600 s for good.
func hibernation(n int) time.Duration {
	if n == 0 {
		return 300 * time.Second
	}
	level := (n - 1) / 3
	if level >= 3 {
		return time.Hour
	}
	return 600 * time.Second << level
}

// unreached is the schedule while there is no answer at all, which says that
// the network is down and not that this node is unwanted.
func unreached() backoff.Policy {
	return backoff.Policy{First: 2 * time.Second, Factor: 2, Cap: 300 * time.Second, Jitter: 0.5}
}

func (p Pinger) ping(ctx context.Context, in ssm.UpdateInstanceInformationInput) error {
	err := p.Client.Call(ctx, "UpdateInstanceInformation", in, nil)
	if p.Told != nil && ctx.Err() == nil {
		p.Told(err)
	}
	return err
}

func (p Pinger) empty() ssm.UpdateInstanceInformationInput {
	return ssm.UpdateInstanceInformationInput{
		AgentName: p.AgentName, AgentVersion: p.AgentVersion, InstanceId: p.InstanceID, PlatformType: p.Info().Type,
	}
}

func (p Pinger) full() ssm.UpdateInstanceInformationInput {
	in, info, channel := p.empty(), p.Info(), p.Channel()
	in.AgentStatus = "Active"
	in.AvailabilityZone, in.AvailabilityZoneId, in.SSMConnectionChannel = &p.Zone, &p.ZoneID, &channel
	in.ComputerName, in.IPAddress = info.ComputerName, info.IPAddress
	in.PlatformName, in.PlatformVersion = info.Name, info.Version
	return in
}

func (p Pinger) random() float64 {
	if p.Rand != nil {
		return p.Rand()
	}
	return rand.Float64()
}
