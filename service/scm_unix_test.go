//go:build unix

package service_test

// serviceHost is a word for Windows alone: elsewhere a service has variables.
const serviceHost = "host-a-service"

func hostService(string, string, string) int { return 2 }
