package platform

import "golang.org/x/sys/unix"

func read() Info {
	i := Info{Type: "MacOS", ComputerName: computerName("/etc/hosts"), IPAddress: interfaceAddress()}
	if version, err := unix.Sysctl("kern.osproductversion"); err == nil {
		i.Name, i.Version = macName(version), version
	}
	return i
}

func defaultPaths() Paths {
	p := macPaths("/") // where launchd starts its jobs, too
	p.Root = ""
	return p
}

func pathsBelow(dir string) Paths { return macPaths(dir) }
