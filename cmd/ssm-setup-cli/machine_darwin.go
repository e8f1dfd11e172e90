package main

// agentProgram is where the agent is.
func agentProgram() string { return "/opt/aws/ssm/bin/amazon-ssm-agent" }

// managed says whether a service manager runs: it is the first process.
func managed() error { return nil }
