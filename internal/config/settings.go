package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Setting is one key of the file: what it may be and what it does.
type Setting struct {
	Path    string // "Mds.CommandRetryLimit"; members of a list's objects as "List[].Member"
	Type    string // as the file has it
	Default string // as the file would have it
	Range   string // empty: any
	Effect  string
	Counts  string // after a change: CountsNow, CountsRestart; empty: never
}

// LogLevelPath is the setting of the agent's log level.
const LogLevelPath = "ssmagent.LogLevel"

// When a changed setting counts.
const (
	CountsNow     = "reload"
	CountsRestart = "restart"
)

// rule is what the type of a setting does not say.
type rule struct {
	path      string
	low, high int      // of a number, when high is not 0
	words     []string // that a string may be, when there are any
	effect    string
	live      bool // may change while the agent runs
}

const (
	none     = math.MaxInt // no upper bound
	maxHours = 100 * 365 * 24
	maxMiB   = 1 << 20
	maxID    = 1<<31 - 2 // of users and groups, in whatever tools count them
)

const (
	withoutEffect = "without effect"
	noEffect      = "without effect, as in the stock agent"
	noSuchWorker  = "without effect: there is no such worker here"
	notYet        = "without effect yet: "
)

// rules are those of all settings, in the order of the file.
func rules() []rule {
	return slices.Concat(nodeRules(), serviceRules(), agentRules(), ownRules())
}

func nodeRules() []rule {
	return []rule{
		{path: "Profile.ShareCreds", effect: "a registered node's role token is also written to the shared credentials file, for other programs of its user"},
		{path: "Profile.ShareProfile", effect: "the profile of that file; empty: default"},
		{path: "Profile.ForceUpdateCreds", effect: "that file is replaced when it cannot be read as one; the old one is kept beside it"},
		{path: "Profile.KeyAutoRotateDays", low: 0, high: 365, effect: "age in days at which a registered node's key is replaced; 0: never unasked"},
		{path: "Mds.Endpoint", effect: "URL of ec2messages"},
		{path: "Mds.CommandWorkersLimit", live: true, low: 1, high: none, effect: "commands that run at once"},
		{path: "Mds.CommandWorkerBufferLimit", live: true, low: 1, high: none, effect: "commands that may wait; below 1000 it is 1000"},
		{path: "Mds.StopTimeoutMillis", low: 10000, high: 1000000, effect: "how long a poll for commands may take"},
		{path: "Mds.CommandRetryLimit", live: true, low: 1, high: 100, effect: "how often a document goes on after restarts"},
	}
}

func serviceRules() []rule {
	return []rule{
		{path: "Ssm.Endpoint", effect: "URL of Systems Manager"},
		{path: "Ssm.HealthFrequencyMinutes", low: 5, high: 60, effect: "time between health pings"},
		{path: "Ssm.AssociationFrequencyMinutes", low: 5, high: 60, effect: notYet + "associations"},
		{path: "Ssm.AssociationRetryLimit", effect: noEffect},
		{path: "Ssm.CustomInventoryDefaultLocation", effect: noEffect},
		{path: "Ssm.AssociationLogsRetentionDurationHours", low: 8, high: none, effect: notYet + "associations"},
		{path: "Ssm.RunCommandLogsRetentionDurationHours", live: true, low: 8, high: none, effect: "how long the output of commands is kept on the node"},
		{path: "Ssm.SessionLogsRetentionDurationHours", live: true, effect: "how long logs of sessions are kept on the node; without a lower bound, as in the stock agent"},
		{path: "Ssm.SessionLogsDestination", live: true, words: []string{"none", "disk"}, effect: "disk: logs of sessions are kept on the node also where no document asks for it"},
		{path: "Ssm.PluginLocalOutputCleanup", words: []string{"default", "after-execution", "after-upload"}, effect: "when a step's output files are removed early"},
		{path: "Ssm.OrchestrationDirectoryCleanup", live: true, words: []string{"default", "clean-success", "clean-success-failed"}, effect: "after which commands their directory is removed at once"},
		{path: "Mgs.Region", effect: "region of the gateway's host name and of signatures for it"},
		{path: "Mgs.Endpoint", effect: "URL of the message gateway; only ws:// with a loopback host is plain text"},
		{path: "Mgs.StopTimeoutMillis", effect: noEffect},
		{path: "Mgs.SessionWorkersLimit", live: true, effect: "sessions at once; below 1 it is 5, as in the stock agent"},
		{path: "Mgs.SessionWorkerBufferLimit", low: 1, high: none, effect: "without effect: a session that may not start is refused at once"},
		{path: "Mgs.DeniedPortForwardingRemoteIPs", live: true, effect: "addresses and prefixes that port sessions may not lead to; the file's list replaces the default"},
	}
}

func agentRules() []rule {
	return []rule{
		{path: "Agent.Name", effect: "the agent's name in pings and replies"},
		{path: "Agent.Version", effect: "the version in pings and replies; empty: the build's"},
		{path: "Agent.Region", effect: "region of signatures for Systems Manager and ec2messages"},
		{path: "Agent.ServiceDomain", effect: "the end of every host name that is not set as an endpoint"},
		{path: "Agent.OrchestrationRootDir", effect: "name of the directory of commands"},
		{path: "Agent.DownloadRootDir", effect: noEffect},
		{path: "Agent.ContainerMode", effect: "the node is the ECS task, unless Identity.ConsumptionOrder says something else; sessions have the agent's account; no pings and polls but of registered nodes and instances"},
		{path: "Agent.SelfUpdate", effect: notYet + "the updater"},
		{path: "Agent.SelfUpdateScheduleDay", low: 1, high: 7, effect: notYet + "the updater"},
		{path: "Agent.TelemetryMetricsToCloudWatch", effect: "without effect: no telemetry is sent"},
		{path: "Agent.TelemetryMetricsToSSM", effect: "without effect: no telemetry is sent"},
		{path: "Agent.TelemetryMetricsNamespace", effect: "without effect: no telemetry is sent"},
		{path: "Agent.LongRunningWorkerMonitorIntervalSeconds", low: 30, high: 1800, effect: noSuchWorker},
		{path: "Agent.AuditExpirationDay", low: 3, high: 30, effect: "without effect: the audit log is bounded by ssmagent.Audit.MaxMiB"},
		{path: "Agent.ForceFileIPC", effect: "without effect: workers use sockets"},
		{path: "Agent.GoMaxProcForAgentWorker", low: 0, high: none, effect: noSuchWorker},
		{path: "Agent.ShouldPurgeInstanceProfileRoleCreds", effect: "without effect: instance profile credentials are never written to disk"},
		{path: "Os.Lang", effect: "told in replies"},
		{path: "Os.Name", effect: "told in replies; empty: the running system's"},
		{path: "Os.Version", effect: "told in replies"},
		{path: "S3.Endpoint", effect: "URL of S3"},
		{path: "S3.Region", effect: noEffect},
		{path: "S3.LogBucket", effect: noEffect},
		{path: "S3.LogKey", effect: noEffect},
		{path: "Birdwatcher.ForceEnable", effect: notYet + "packages"},
		{path: "Kms.Endpoint", effect: "URL of KMS"},
		{path: "Kms.RequireKMSChallengeResponse", live: true, effect: "encrypted sessions need a client that proves the key for this handshake; only ours can"},
		{path: "Identity.Ec2SystemInfoDetectionResponse", words: []string{"", "true", "false"}, effect: noEffect},
		{path: "Identity.ConsumptionOrder", words: []string{OnPrem, EC2, ECS, Custom}, effect: "who the node may be; the first that is usable counts"},
		{path: "Identity.CustomIdentities[].InstanceID", effect: "id of a node by configuration; the first entry with id and region counts"},
		{path: "Identity.CustomIdentities[].Region", effect: "its region"},
		{path: "Identity.CustomIdentities[].AvailabilityZone", effect: noEffect},
		{path: "Identity.CustomIdentities[].AvailabilityZoneId", effect: noEffect},
		{path: "Identity.CustomIdentities[].InstanceType", effect: noEffect},
		{path: "Identity.CustomIdentities[].CredentialsProvider", words: []string{providerDefault}, effect: "its credentials: environment, shared file, container, instance profile, in this order"},
	}
}

// providerDefault is the one kind of credentials of a custom identity.
const providerDefault = "DEFAULT"

func ownRules() []rule {
	return []rule{
		{path: "ssmagent.CABundle", effect: "absolute path of a PEM file whose certificates are trusted besides the system's"},
		{path: "ssmagent.UseFIPSEndpoint", effect: "computed hosts are the FIPS ones; also by AWS_USE_FIPS_ENDPOINT=true"},
		{path: "ssmagent.UseDualStackEndpoint", effect: "computed hosts are those with IPv4 and IPv6; also by AWS_USE_DUALSTACK_ENDPOINT=true"},
		{path: "ssmagent.LargePayloads", live: true, effect: "port sessions send stock clients 32 KiB at once also through AWS's gateway"},
		{path: "ssmagent.LogsEndpoint", effect: "URL of CloudWatch Logs"},
		{path: LogLevelPath, live: true, words: []string{LogDebug, LogInfo, LogWarn, LogError}, effect: "least level of what the agent logs; ssm-cli set-log-level changes it until the next start or another value here"},
		{path: "ssmagent.Recordings.Mode", live: true, words: []string{RecordOn, RecordOff, RecordAlways}, effect: "whether terminals are recorded; on and off: unless the session document says otherwise"},
		{path: "ssmagent.Recordings.WhenFailing", live: true, words: []string{FailContinue, FailEnd}, effect: "what becomes of a session whose recording fails"},
		{path: "ssmagent.Recordings.MaxAgeHours", live: true, low: 0, high: maxHours, effect: "how long recordings are kept; 0: for ever"},
		{path: "ssmagent.Recordings.MaxMiB", live: true, low: 0, high: maxMiB, effect: "size of all recordings together; 0: no limit"},
		{path: "ssmagent.Recordings.MaxCount", live: true, low: 0, high: none, effect: "number of recordings; 0: no limit"},
		{path: "ssmagent.Audit.MaxMiB", low: 16, high: maxMiB, effect: "size of the audit log"},
		{path: "ssmagent.Commands.MaxMiB", live: true, low: 0, high: maxMiB, effect: "size of what is kept of commands; 0: no limit"},
		{path: "ssmagent.Commands.MaxCount", live: true, low: 0, high: none, effect: "number of commands that are kept; 0: no limit"},
		{path: "ssmagent.SessionUser.UID", live: true, low: 0, high: maxID, effect: "user id of ssm-user, where the agent makes it; 0: the system chooses. This and what follows but Groups and Sudo is not for Windows"},
		{path: "ssmagent.SessionUser.GID", live: true, low: 0, high: maxID, effect: "id of its own group, which is made if there is none; 0: the system chooses"},
		{path: "ssmagent.SessionUser.System", live: true, effect: "its ids come from the range of system accounts"},
		{path: "ssmagent.SessionUser.Home", live: true, effect: "its home, absolute; empty: the system's default"},
		{path: "ssmagent.SessionUser.Shell", live: true, effect: "its shell, absolute; empty: the system's default. Sessions start it with ssmagent.LoginShells only"},
		{path: "ssmagent.SessionUser.Groups", live: true, effect: "groups that it is a member of besides its own (on Windows: local groups); they must exist"},
		{path: "ssmagent.SessionUser.Sudo", live: true, effect: "it may do everything: by sudo, without a password; on Windows it is one of the Administrators"},
		{path: "ssmagent.LoginShells", live: true, effect: "sessions begin as under su -: in the account's own shell, as a login shell, with HOME, USER, LOGNAME, SHELL and PATH and little else"},
		{path: "ssmagent.SealKey", effect: "on Windows: the node's private key is kept sealed by DPAPI, so that it is of no use on another machine; stock agents find no registration then"},
		{path: "ssmagent.Guard.MemoryMiB", low: 64, high: maxMiB, effect: "memory that the agent's runtime keeps below; with a heap of twice as much the agent ends itself and is started again. GOMEMLIMIT goes before it"},
		{path: "ssmagent.Guard.Goroutines", low: 2000, high: 1_000_000, effect: "with more goroutines the agent ends itself and is started again"},
	}
}

// Settings are all keys of the file, in its order.
func Settings() []Setting {
	def := Default()
	var all []Setting
	for _, r := range rules() {
		s := Setting{Path: r.path, Range: r.span(), Effect: r.effect, Counts: r.counts(), Type: "string"}
		if v := value(&def, r.path); v.IsValid() {
			s.Type, s.Default = kindName(v.Type()), printed(v)
		} else {
			s.Default = `""`
			if r.path == providerPath {
				s.Default = strconv.Quote(providerDefault)
			}
		}
		all = append(all, s)
	}
	return all
}

// providerPath is the one member of a list's objects whose empty value is a
// word.
const providerPath = "Identity.CustomIdentities[].CredentialsProvider"

func (r rule) counts() string {
	switch {
	case r.live:
		return CountsNow
	case strings.HasPrefix(r.effect, withoutEffect):
		return ""
	}
	return CountsRestart
}

func (r rule) span() string {
	switch {
	case len(r.words) > 0:
		return quoted(r.words)
	case r.high != 0:
		return span(r.low, r.high)
	}
	return ""
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return strings.Join(q, ", ")
}

func span(low, high int) string {
	if high == none {
		return fmt.Sprintf("at least %d", low)
	}
	return fmt.Sprintf("between %d and %d", low, high)
}

// value is the setting at path in c; invalid for members of a list's objects.
func value(c *Config, path string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		if strings.HasSuffix(name, "[]") {
			return reflect.Value{}
		}
		f, ok := lookup(v.Type(), name)
		if !ok {
			return reflect.Value{}
		}
		v = v.FieldByIndex(f.Index)
	}
	return v
}

// printed is v as the file would have it.
func printed(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		words, _ := v.Interface().([]string)
		return "[" + quoted(words) + "]"
	default:
		return v.String()
	}
}
