//go:build tools

// Package winres pins go-winres, which makes the resources of the Windows programs.
package winres

import _ "github.com/tc-hib/go-winres"
