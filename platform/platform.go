// Package platform is the seam for what a machine is: its names and versions,
// the paths of the product on it, and who a process runs as.
package platform

// Info describes the machine for health pings and preconditions. A member that
// could not be determined is empty.
type Info struct {
	Type         string // "Linux", "Windows" or "MacOS", as PlatformType on the wire
	Name         string // "Debian GNU/Linux"
	Version      string // "12"
	ComputerName string
	IPAddress    string // first non-loopback IPv4, else IPv6
}

// Paths are the places of the product. All are absolute.
type Paths struct {
	// Root is the argument of -root, empty for the system's own places.
	Root          string
	ConfigFile    string // amazon-ssm-agent.json
	Data          string // instance data store: Vault, registration, <id>/…
	RuntimeConfig string // who the node is, for other programs
	// HostCredentials is where credentials of default host management are shared.
	HostCredentials string
	Logs            string
	Recordings      string // of terminals
	Audit           string // who did what
	LocalCommands   string // offline documents
	// Packages holds what was installed, by package and version.
	Packages, PackageLocks, PackageManifests string
	// Plugins holds programs of AWS that steps call; empty: there are none.
	Plugins string
	// IPC holds the agent's local sockets (directory 0700).
	IPC string
	// DefaultWorkDir is where scripts run that name no directory.
	DefaultWorkDir string
	// ControlPlane is the data directory of ssm-local.
	ControlPlane string
	// Home is the folder of all data where one folder has them, and nothing else
	// (Windows); else empty.
	Home string
	// Editions are copies of the program that workers run from, where a program
	// that runs cannot be replaced (Windows); else empty.
	Editions string
}

// SystemLibraries has libraries loaded from the system's own folder alone, also
// those that others load into this process by a bare name, and not from where the
// program, its user or PATH has some. It comes before all else. Only Windows looks
// elsewhere; in other systems' programs everything is linked.
func SystemLibraries() error { return systemLibraries() }

// Read finds out what machine this is. It runs no programs and asks no network.
func Read() Info { return read() }

// DefaultPaths are the stock agent's places on this system.
func DefaultPaths() Paths { return defaultPaths() }

// PathsBelow are the same places below dir, for -root. dir must be absolute.
func PathsBelow(dir string) Paths { return pathsBelow(dir) }
