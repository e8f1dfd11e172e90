//go:build !recorder

package users

import "golang.org/x/sys/windows"

// logonLibrary has log-ons and tokens.
const logonLibrary = "advapi32.dll"

// switches: LocalSystem alone has all the privileges that it takes to give a
// process the token of another account.
func switches() bool {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	return err == nil && u.User.Sid.IsWellKnown(windows.WinLocalSystemSid)
}
