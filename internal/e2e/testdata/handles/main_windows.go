// Command handles prints how many handles the process has whose number it is
// given, for tests under wine.
package main

import (
	"fmt"
	"os"
	"strconv"

	"ssmagent/platform/proc/proctest"
)

func main() {
	pid, err := strconv.Atoi(os.Args[1])
	if err == nil {
		var n int
		if n, err = proctest.HandlesOf(pid); err == nil {
			fmt.Println("handles:", n)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
