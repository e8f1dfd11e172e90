package program

const (
	stoppedService = "Agent is installed as a systemctl service but is not running"
	rootHome       = "/root"
)
