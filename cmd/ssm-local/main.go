// Command ssm-local is the embedded control plane and our client.
package main

import (
	"os"

	"ssmagent/cmd/internal/program"
)

func main() { os.Exit(program.Main("ssm-local", os.Args)) }
