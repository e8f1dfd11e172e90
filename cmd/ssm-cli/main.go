// Command ssm-cli is the administrator's command line on the node.
package main

import (
	"os"

	"ssmagent/cmd/internal/program"
)

func main() { os.Exit(program.Main("ssm-cli", os.Args)) }
