package program

import (
	"context"
	"os"

	"ssmagent/platform"
)

// hardware is what the fingerprint compares.
func hardware(context.Context) (map[string]string, error) {
	id, _ := os.ReadFile("/etc/machine-id")
	i := platform.Read()
	return map[string]string{"machine-id": string(id), "hostname-info": i.ComputerName, "ipaddress-info": i.IPAddress}, nil
}
