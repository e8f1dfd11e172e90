package program

const (
	stoppedService = "Agent is installed as a launchd job but is not running"
	rootHome       = "/var/root"
)
