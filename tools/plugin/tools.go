//go:build tools

// Package plugin pins the official Session Manager plugin, which the
// end-to-end tests drive as a client.
package plugin

import _ "github.com/aws/session-manager-plugin/src/sessionmanagerplugin-main"
