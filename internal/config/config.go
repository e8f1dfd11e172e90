// Package config reads the agent's configuration file: the stock file with
// all its sections, and one section of ours, "ssmagent". Loading is a
// function: defaults, overlaid by the file, put right by the stock agent's
// rules; every fault is told at once.
package config

// Config is the configuration file. Sections and members are named as there.
type Config struct {
	Profile     Profile
	Mds         Mds
	Ssm         Ssm
	Mgs         Mgs
	Agent       Agent
	Os          Os
	S3          S3
	Birdwatcher Birdwatcher
	Kms         Kms
	Identity    Identity
	SSMAgent    SSMAgent `json:"ssmagent"`
}

// Profile rules the role token of a registered node.
type Profile struct {
	ShareCreds        bool
	ShareProfile      string
	ForceUpdateCreds  bool
	KeyAutoRotateDays int // 0 to 365; 0 is never
}

// Mds is the message delivery service (ec2messages) and the command workers.
type Mds struct {
	Endpoint                 string
	CommandWorkersLimit      int
	CommandWorkerBufferLimit int
	StopTimeoutMillis        int64 // also the time limit of GetMessages
	CommandRetryLimit        int   // resumptions of a document after restarts
}

// Ssm is the Systems Manager service and what is kept on disk.
type Ssm struct {
	Endpoint                              string
	HealthFrequencyMinutes                int
	AssociationFrequencyMinutes           int
	AssociationRetryLimit                 int    // without effect, as in the stock agent
	CustomInventoryDefaultLocation        string // without effect, as in the stock agent
	AssociationLogsRetentionDurationHours int
	RunCommandLogsRetentionDurationHours  int
	SessionLogsRetentionDurationHours     int // the one retention that has no minimum
	SessionLogsDestination                string
	PluginLocalOutputCleanup              string
	OrchestrationDirectoryCleanup         string
}

// Mgs is the message gateway (ssmmessages): control channel and sessions.
type Mgs struct {
	Region                        string // of the gateway's host name and signatures
	Endpoint                      string
	StopTimeoutMillis             int64 // without effect, as in the stock agent
	SessionWorkersLimit           int
	SessionWorkerBufferLimit      int
	DeniedPortForwardingRemoteIPs []string
}

// Agent is the agent itself.
type Agent struct {
	Name    string
	Version string // empty: the build's
	// Region replaces the region in signatures of ssm and ec2messages.
	Region                                  string
	ServiceDomain                           string // suffix of every computed host
	OrchestrationRootDir                    string
	DownloadRootDir                         string // without effect, as in the stock agent
	ContainerMode                           bool
	SelfUpdate                              bool
	SelfUpdateScheduleDay                   int
	TelemetryMetricsToCloudWatch            bool
	TelemetryMetricsToSSM                   bool
	TelemetryMetricsNamespace               string
	LongRunningWorkerMonitorIntervalSeconds int
	AuditExpirationDay                      int
	ForceFileIPC                            bool // without effect: workers use pipes
	GoMaxProcForAgentWorker                 int  // without effect: there is no such worker
	ShouldPurgeInstanceProfileRoleCreds     bool
}

// Os is echoed in replies.
type Os struct {
	Lang    string
	Name    string // empty: the running system's, "linux" or "windows"
	Version string
}

// S3 is where output goes. Only Endpoint counts, as in the stock agent.
type S3 struct {
	Endpoint  string
	Region    string
	LogBucket string
	LogKey    string
}

// Birdwatcher selects the package service.
type Birdwatcher struct{ ForceEnable bool }

// Kms is the encryption of sessions.
type Kms struct {
	Endpoint                    string
	RequireKMSChallengeResponse bool
}

// Identity says who the node may be, in order.
type Identity struct {
	Ec2SystemInfoDetectionResponse string // without effect, as in the stock agent
	ConsumptionOrder               []string
	CustomIdentities               []CustomIdentity
}

// CustomIdentity is an identity by configuration.
type CustomIdentity struct {
	InstanceID          string
	Region              string
	AvailabilityZone    string
	AvailabilityZoneId  string
	InstanceType        string
	CredentialsProvider string
}

// SSMAgent holds the settings that the stock agent does not have. An unknown
// key in here is an error, elsewhere a warning.
type SSMAgent struct {
	// CABundle is the absolute path of a PEM file whose certificates are
	// trusted, besides the system's, for all traffic of the agent.
	CABundle string
	// UseFIPSEndpoint and UseDualStackEndpoint choose among AWS's hosts where no
	// endpoint is named.
	UseFIPSEndpoint, UseDualStackEndpoint bool
	// LargePayloads has port sessions send stock clients payloads of 32 KiB also
	// through AWS's gateway. Through any other they always do.
	LargePayloads bool
	// LogsEndpoint is the URL of CloudWatch Logs, which the stock file has no
	// place for.
	LogsEndpoint string
	// LogLevel is that of the agent's log: debug, info, warn or error.
	LogLevel string
	// Recordings rules what is kept of terminals.
	Recordings Recordings
	// Audit rules the log of who did what.
	Audit Audit
	// Commands rules what is kept of commands, besides their age.
	Commands Commands
	// SessionUser is the account of sessions, where the agent makes it.
	SessionUser SessionUser
	// LoginShells has sessions begin as under `su -`: in the account's own shell,
	// as a login shell, with an environment of its own.
	LoginShells bool
	// SealKey has the node's private key be sealed by Windows' data protection:
	// only this machine can open it, and stock agents cannot.
	SealKey bool
	// Guard rules what the agent itself may take of its machine.
	Guard Guard
}

// SessionUser rules how the account ssm-user is made. One that is there is
// taken as it is.
type SessionUser struct {
	UID, GID    int    // 0: the system chooses
	System      bool   // ids from the range of system accounts
	Home, Shell string // empty: the system's defaults
	Groups      []string
	Sudo        bool // everything, without a password
}

// Guard is the limit of the agent's own process, not of what it runs.
type Guard struct {
	MemoryMiB  int // that the runtime keeps below; twice as much ends the agent
	Goroutines int // more end it
}

// Commands rules the orchestration directories of commands. 0 is no end, as in
// the stock agent.
type Commands struct {
	MaxMiB   int // of all together; the oldest go first
	MaxCount int
}

// Recordings rules the recordings of terminals.
type Recordings struct {
	// Mode is RecordOn, RecordOff or RecordAlways.
	Mode string
	// WhenFailing is FailContinue or FailEnd: what becomes of a session whose
	// recording fails.
	WhenFailing string
	MaxAgeHours int // of a recording; 0 is no end, as below
	MaxMiB      int // of all recordings together, and of any one
	MaxCount    int
}

// The words of SSMAgent.LogLevel.
const (
	LogDebug = "debug"
	LogInfo  = "info"
	LogWarn  = "warn"
	LogError = "error"
)

// The words of Recordings. Session documents have the same, but RecordAlways.
const (
	RecordOn     = "on"     // unless the session document says off
	RecordOff    = "off"    // unless the session document says on
	RecordAlways = "always" // whatever the session document says
	FailContinue = "continue"
	FailEnd      = "end"
)

// Audit rules the audit log.
type Audit struct {
	MaxMiB int // of all its files together
}

// Identity types, the members of Identity.ConsumptionOrder.
const (
	OnPrem = "OnPrem"
	EC2    = "EC2"
	ECS    = "ECS"
	Custom = "CustomIdentity"
)

// Default returns the configuration of a machine without a file.
func Default() Config {
	return Config{
		Profile: Profile{ShareCreds: true},
		Mds: Mds{
			CommandWorkersLimit: 5, CommandWorkerBufferLimit: 5,
			StopTimeoutMillis: 20000, CommandRetryLimit: 15,
		},
		Ssm: Ssm{
			HealthFrequencyMinutes: 5, AssociationFrequencyMinutes: 10, AssociationRetryLimit: 5,
			AssociationLogsRetentionDurationHours: 24,
			RunCommandLogsRetentionDurationHours:  336,
			SessionLogsRetentionDurationHours:     336,
			SessionLogsDestination:                "none",
			PluginLocalOutputCleanup:              "default",
			OrchestrationDirectoryCleanup:         "default",
		},
		Mgs: Mgs{
			StopTimeoutMillis: 20000, SessionWorkersLimit: 1000, SessionWorkerBufferLimit: 1,
			DeniedPortForwardingRemoteIPs: []string{
				"169.254.169.254", "fd00:ec2::254", "169.254.169.253", "fd00:ec2::253",
				"169.254.169.123", "fd00:ec2::123", "169.254.169.250", "169.254.169.251", "fd00:ec2::240",
			},
		},
		Agent: Agent{
			Name: "amazon-ssm-agent", OrchestrationRootDir: "orchestration",
			SelfUpdateScheduleDay: 7, TelemetryMetricsToSSM: true,
			TelemetryMetricsNamespace:               "amazon-ssm-agent-telemetry",
			LongRunningWorkerMonitorIntervalSeconds: 60, AuditExpirationDay: 7,
		},
		Os:       Os{Lang: "en-US", Version: "1"},
		Identity: Identity{ConsumptionOrder: []string{OnPrem, EC2, Custom}},
		SSMAgent: SSMAgent{
			LogLevel:   LogInfo,
			Recordings: Recordings{Mode: RecordOn, WhenFailing: FailContinue, MaxAgeHours: 336, MaxMiB: 1024, MaxCount: 1000},
			Audit:      Audit{MaxMiB: 256}, SessionUser: SessionUser{Sudo: true},
			Guard: Guard{MemoryMiB: 256, Goroutines: 20_000},
		},
	}
}

// Complete fills in what only the program knows: the name of the system
// ("linux", "windows") and the version of the build, where the file names none.
func (c Config) Complete(osName, version string) Config {
	if c.Os.Name == "" {
		c.Os.Name = osName
	}
	if c.Agent.Version == "" {
		c.Agent.Version = version
	}
	return c
}
