package service

// Default has the agent's names on this system.
func Default() Options {
	return Options{Name: macName, DisplayName: "amazon-ssm-agent", Description: "amazon-ssm-agent"}
}

// manager: launchd is everywhere.
func manager() error { return nil }
