// Command amazon-ssm-agent is the agent, and every other program of the product under its own name.
package main

import (
	"os"

	"ssmagent/cmd/internal/program"
)

func main() { os.Exit(program.Main("amazon-ssm-agent", os.Args)) }
