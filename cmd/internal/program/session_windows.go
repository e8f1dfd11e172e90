package program

import (
	"os"

	"ssmagent/platform/proc"
)

// sessionProcs is how many processors a session's processes use at once: one
// reads while another writes.
const sessionProcs = 2

// pollable is f: pipes cannot be polled here.
func pollable(f *os.File) *os.File { return f }

// starter starts workers without a job: one would end them with the agent.
func starter(string) func(proc.Spec) (proc.Process, error) {
	return func(s proc.Spec) (proc.Process, error) {
		s.Scope = ""
		return proc.Start(s)
	}
}
