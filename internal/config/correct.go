package config

import (
	"fmt"
	"math"
	"slices"

	"ssmagent/internal/session/destination"
)

// correct applies the stock agent's rule: what is out of range becomes the
// default, not the nearest bound.
func (d *decoder) correct(c *Config) {
	def := Default()
	none := math.MaxInt
	ints := []struct {
		field     string
		v         *int
		def       int
		low, high int
	}{
		{"Profile.KeyAutoRotateDays", &c.Profile.KeyAutoRotateDays, def.Profile.KeyAutoRotateDays, 0, 365},
		{"Mds.CommandWorkersLimit", &c.Mds.CommandWorkersLimit, def.Mds.CommandWorkersLimit, 1, none},
		{"Mds.CommandWorkerBufferLimit", &c.Mds.CommandWorkerBufferLimit, def.Mds.CommandWorkerBufferLimit, 1, none},
		{"Mds.CommandRetryLimit", &c.Mds.CommandRetryLimit, def.Mds.CommandRetryLimit, 1, 100},
		{"Ssm.HealthFrequencyMinutes", &c.Ssm.HealthFrequencyMinutes, def.Ssm.HealthFrequencyMinutes, 5, 60},
		{"Ssm.AssociationFrequencyMinutes", &c.Ssm.AssociationFrequencyMinutes, def.Ssm.AssociationFrequencyMinutes, 5, 60},
		{"Ssm.AssociationLogsRetentionDurationHours", &c.Ssm.AssociationLogsRetentionDurationHours, def.Ssm.AssociationLogsRetentionDurationHours, 8, none},
		{"Ssm.RunCommandLogsRetentionDurationHours", &c.Ssm.RunCommandLogsRetentionDurationHours, def.Ssm.RunCommandLogsRetentionDurationHours, 8, none},
		{"Mgs.SessionWorkerBufferLimit", &c.Mgs.SessionWorkerBufferLimit, def.Mgs.SessionWorkerBufferLimit, 1, none},
		{"Agent.SelfUpdateScheduleDay", &c.Agent.SelfUpdateScheduleDay, def.Agent.SelfUpdateScheduleDay, 1, 7},
		{"Agent.LongRunningWorkerMonitorIntervalSeconds", &c.Agent.LongRunningWorkerMonitorIntervalSeconds, def.Agent.LongRunningWorkerMonitorIntervalSeconds, 30, 1800},
		{"Agent.AuditExpirationDay", &c.Agent.AuditExpirationDay, def.Agent.AuditExpirationDay, 3, 30},
		{"ssmagent.Recordings.MaxAgeHours", &c.SSMAgent.Recordings.MaxAgeHours, def.SSMAgent.Recordings.MaxAgeHours, 0, maxHours},
		{"ssmagent.Recordings.MaxMiB", &c.SSMAgent.Recordings.MaxMiB, def.SSMAgent.Recordings.MaxMiB, 0, maxMiB},
		{"ssmagent.Recordings.MaxCount", &c.SSMAgent.Recordings.MaxCount, def.SSMAgent.Recordings.MaxCount, 0, none},
		{"ssmagent.Audit.MaxMiB", &c.SSMAgent.Audit.MaxMiB, def.SSMAgent.Audit.MaxMiB, 16, maxMiB},
		{"ssmagent.Commands.MaxMiB", &c.SSMAgent.Commands.MaxMiB, def.SSMAgent.Commands.MaxMiB, 0, maxMiB},
		{"ssmagent.Commands.MaxCount", &c.SSMAgent.Commands.MaxCount, def.SSMAgent.Commands.MaxCount, 0, none},
		{"Agent.GoMaxProcForAgentWorker", &c.Agent.GoMaxProcForAgentWorker, 0, 0, none},
	}
	for _, n := range ints {
		if *n.v < n.low || *n.v > n.high {
			d.warn(n.field, "%d is not %s; using %d", *n.v, span(n.low, n.high), n.def)
			*n.v = n.def
		}
	}
	if t := c.Mds.StopTimeoutMillis; t < 10000 || t > 1000000 {
		d.warn("Mds.StopTimeoutMillis", "%d is not %s; using %d", t, span(10000, 1000000), def.Mds.StopTimeoutMillis)
		c.Mds.StopTimeoutMillis = def.Mds.StopTimeoutMillis
	}
	if n := c.Mgs.SessionWorkersLimit; n < 1 {
		d.warn("Mgs.SessionWorkersLimit", "%d is not at least 1; using %d, as the stock agent does", n, sessionWorkersFloor)
		c.Mgs.SessionWorkersLimit = sessionWorkersFloor
	}
	d.words(c, def)
	d.lists(c, def)
	if b := c.SSMAgent.CABundle; b != "" && !absolute(b) {
		d.fail(d.lines["ssmagent.CABundle"], "ssmagent.CABundle", "%q must be an absolute path of a PEM file", b)
	}
}

// Bounds that keep sums and products of ours from overflowing.
const (
	maxHours = 100 * 365 * 24
	maxMiB   = 1 << 20
)

// sessionWorkersFloor is what the stock agent's processor uses below 1.
const sessionWorkersFloor = 5

func (d *decoder) words(c *Config, def Config) {
	for _, w := range []struct {
		field   string
		v       *string
		def     string
		allowed []string
	}{
		{"Ssm.SessionLogsDestination", &c.Ssm.SessionLogsDestination, def.Ssm.SessionLogsDestination, []string{"none", "disk"}},
		{"Ssm.PluginLocalOutputCleanup", &c.Ssm.PluginLocalOutputCleanup, def.Ssm.PluginLocalOutputCleanup,
			[]string{"default", "after-execution", "after-upload"}},
		{"Ssm.OrchestrationDirectoryCleanup", &c.Ssm.OrchestrationDirectoryCleanup, def.Ssm.OrchestrationDirectoryCleanup,
			[]string{"default", "clean-success", "clean-success-failed"}},
		{"ssmagent.Recordings.Mode", &c.SSMAgent.Recordings.Mode, def.SSMAgent.Recordings.Mode, []string{RecordOn, RecordOff, RecordAlways}},
		{"ssmagent.Recordings.WhenFailing", &c.SSMAgent.Recordings.WhenFailing, def.SSMAgent.Recordings.WhenFailing, []string{FailContinue, FailEnd}},
		{"Identity.Ec2SystemInfoDetectionResponse", &c.Identity.Ec2SystemInfoDetectionResponse, "", []string{"", "true", "false"}},
	} {
		if slices.Contains(w.allowed, *w.v) {
			continue
		}
		// The stock template ships empty words: they are no mistake.
		if *w.v != "" {
			d.warn(w.field, "%q is none of %q; using %q", abbreviate([]byte(*w.v)), w.allowed, w.def)
		}
		*w.v = w.def
	}
}

func (d *decoder) lists(c *Config, def Config) {
	known := []string{OnPrem, EC2, ECS, Custom}
	c.Identity.ConsumptionOrder = slices.DeleteFunc(c.Identity.ConsumptionOrder, func(s string) bool {
		bad := !slices.Contains(known, s)
		if bad {
			d.warn("Identity.ConsumptionOrder", "%q is none of %q; dropped", abbreviate([]byte(s)), known)
		}
		return bad
	})
	if len(c.Identity.ConsumptionOrder) == 0 {
		c.Identity.ConsumptionOrder = def.Identity.ConsumptionOrder
	}
	for i := range c.Identity.CustomIdentities {
		id := &c.Identity.CustomIdentities[i]
		field := fmt.Sprintf("Identity.CustomIdentities[%d].CredentialsProvider", i)
		if id.CredentialsProvider != "DEFAULT" {
			if id.CredentialsProvider != "" {
				d.warn(field, "%q is not \"DEFAULT\"; using \"DEFAULT\"", abbreviate([]byte(id.CredentialsProvider)))
			}
			id.CredentialsProvider = "DEFAULT"
		}
	}
	if c.Mgs.DeniedPortForwardingRemoteIPs == nil {
		c.Mgs.DeniedPortForwardingRemoteIPs = def.Mgs.DeniedPortForwardingRemoteIPs
	}
	if _, err := destination.New(c.Mgs.DeniedPortForwardingRemoteIPs); err != nil {
		// An entry that is not understood must not be one that is not there.
		d.fail(d.lines["Mgs.DeniedPortForwardingRemoteIPs"], "Mgs.DeniedPortForwardingRemoteIPs", "%v", err)
	}
}

func span(low, high int) string {
	if high == math.MaxInt {
		return fmt.Sprintf("at least %d", low)
	}
	return fmt.Sprintf("between %d and %d", low, high)
}
