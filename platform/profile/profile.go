// Package profile is the seam for what an account finds where it logs on: its
// folder, its environment and its part of the registry. Only Windows has to be
// told to load it.
package profile

// Profile is an account's, for as long as one of its processes runs.
type Profile struct {
	Dir string   // the account's folder; empty when it is not known
	Env []string // what the account's programs begin with
	// Poor is why the account's part of the registry is not there: its programs
	// see that of new accounts instead. nil: it is.
	Poor error
	// Unload is what Close does; nil: nothing.
	Unload func() error
}

// Load loads the profile of the account name, whose token is given and stays the
// caller's. The first one of an account makes its folder, which takes seconds.
func Load(token uintptr, name string) (Profile, error) { return load(token, name) }

// Close gives the profile back. The account's processes have ended by then, and
// the token is still open.
func (p Profile) Close() error {
	if p.Unload == nil {
		return nil
	}
	return p.Unload()
}
