package program

import "os"

// sessionProcs is how many processors a session's processes use at once: one
// reads while another writes.
const sessionProcs = 2

// pollable is f: pipes cannot be polled here.
func pollable(f *os.File) *os.File { return f }
