//go:build unix

package program

import "ssmagent/platform/proc"

// holderStarter starts the process that holds a session's program. It hears by
// its standard input that the worker has gone.
func holderStarter() func(proc.Spec) (proc.Process, error) { return proc.Start }

// attendant: terminals need none.
func attendant() []string { return nil }

func olderShell() string { return "" }
