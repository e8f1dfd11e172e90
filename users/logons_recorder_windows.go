//go:build recorder

package users

// logonLibrary is the one of testdata/recorder, in programs that are built for
// tests under wine: nothing can be put over advapi32.dll, and wine's log-ons give
// no token.
const logonLibrary = "netapi32.dll"

// switches: under wine nobody is LocalSystem.
func switches() bool { return true }
