package main

import (
	"fmt"

	"ssmagent/service"
)

// tellService has the service manager start, stop or restart the agent.
func tellService(deed string) error {
	if err := managed(); err != nil {
		return err
	}
	switch o := service.Default(); deed {
	case "start":
		return service.Start(o)
	case "stop":
		return service.Stop(o)
	case "restart":
		return service.Restart(o)
	}
	return fmt.Errorf("%q is nothing that a service does", deed)
}
