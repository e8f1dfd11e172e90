package distro

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func read() (System, error) {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return System{}, fmt.Errorf("which macOS this is cannot be told: %w", err)
	}
	return known("mac_os_x", version, "launchd")
}
