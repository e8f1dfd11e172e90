// Package software is the seam for what programs are installed on the machine.
package software

import "strings"

// Program is an installed program, as its installer registered it. What it did
// not say is empty.
type Program struct {
	// ID names the entry; where the Windows Installer made it, it is the
	// product's code.
	ID                       string
	Name, Version, Publisher string
	URL                      string
	InstallDate              string // as it was written, mostly YYYYMMDD
	// Bits is 64 or 32: in which of the machine's two views the entry is.
	Bits int
	// ByInstaller: the Windows Installer made it.
	ByInstaller bool
	// Component: it is part of another program and not shown to people.
	Component bool
}

// List returns the installed programs, sorted by name. On systems where nothing
// needs them yet it is an error that says so.
func List() ([]Program, error) { return list() }

// ProductCode reads the code of the product that a package of the Windows
// Installer installs.
func ProductCode(file string) (string, error) { return productCode(file) }

// Has says whether the product with this code is among the programs.
func Has(all []Program, code string) bool {
	for _, p := range all {
		if strings.EqualFold(p.ID, code) {
			return true
		}
	}
	return false
}
