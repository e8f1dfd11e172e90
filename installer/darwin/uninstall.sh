#!/bin/sh
# Removes the agent from macOS. Configuration, registration, logs and the account
# ssm-user stay.
set -u
job=com.amazon.aws.ssm
root=${ROOT-} # of tests
plist=$root/Library/LaunchDaemons/$job.plist

[ -n "$root" ] || [ "$(id -u)" = 0 ] || {
	echo "uninstall.sh: only root may uninstall: sudo $0" >&2
	exit 1
}
[ ! -f "$plist" ] || launchctl unload "$plist" 2>/dev/null
rm -rf "$root/opt/aws/ssm/bin" "$root/opt/aws/ssm/amazon-ssm-agent.json.template" "$root/opt/aws/ssm/NOTICE.txt" "$plist" || exit 125
# What a package of the stock agent's has left of itself.
pkgutil --forget $job >/dev/null 2>&1 || true
