//go:build unix

package program

import "ssmagent/service"

func installService(_ streams, o service.Options) error { return service.Install(o) }

func configureService(_ streams, o service.Options) error { return service.Configure(o) }
