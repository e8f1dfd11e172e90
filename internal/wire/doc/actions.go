package doc

import (
	"slices"
	"strings"
)

// Platforms as preconditions compare them (in any letter case).
const (
	Linux   = "linux"
	Windows = "windows"
	MacOS   = "macos"
)

// Known says that an action is one that agents know at all.
func Known(action string) bool {
	return len(platformsOf(action)) > 0 || action == "aws:configureDaemon"
}

// Supported says that a platform claims to support an action, which on Linux
// and Windows is every known one; whether this build can run it is another
// matter.
func Supported(platform, action string) bool {
	if strings.EqualFold(platform, MacOS) {
		return slices.Contains(platformsOf(action), MacOS)
	}
	return Known(action)
}

// platformsOf lists where agents have a handler for an action.
func platformsOf(action string) []string {
	switch action {
	case "aws:runShellScript":
		return []string{Linux, MacOS}
	case "aws:runPowerShellScript", "aws:configurePackage", "aws:softwareInventory",
		"aws:refreshAssociation", "aws:updateSsmAgent":
		return []string{Windows, Linux, MacOS}
	case "aws:runDocument", "aws:downloadContent", "aws:domainJoin",
		"aws:configureDocker", "aws:runDockerAction":
		return []string{Windows, Linux}
	case "aws:updateAgent", "aws:applications", "aws:psModule", "aws:cloudWatch":
		return []string{Windows}
	}
	return nil
}

// HandledOn says that agents have a handler for an action on a platform.
func HandledOn(platform, action string) bool {
	return slices.Contains(platformsOf(action), strings.ToLower(platform))
}

// Platforms lists the PlatformTypes of a document: those on which at least one
// step has a handler and no platformType precondition that excludes it.
func (d Document) Platforms() []string {
	var types []string
	for _, p := range []struct{ key, name string }{{Windows, "Windows"}, {Linux, "Linux"}, {MacOS, "MacOS"}} {
		if d.runsOn(p.key) {
			types = append(types, p.name)
		}
	}
	return types
}

func (d Document) runsOn(platform string) bool {
	if d.v1() {
		for action := range d.RuntimeConfig {
			if HandledOn(platform, action) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(d.MainSteps, func(s MainStep) bool {
		return HandledOn(platform, s.Action) && !excludes(s.Precondition["StringEquals"], platform)
	})
}

func excludes(args []string, platform string) bool {
	if len(args) != 2 {
		return false
	}
	other := args[0]
	if other == "platformType" {
		other = args[1]
	} else if args[1] != "platformType" {
		return false
	}
	return !strings.EqualFold(other, platform)
}
