#!/bin/sh
# Removes the package that install.sh installed; configuration, registration and
# the account ssm-user stay. It exits with 125 when the package manager failed.
set -u
name=amazon-ssm-agent
here=$(dirname "$0")

fail() {
	echo "uninstall.sh: $1" >&2
	exit 125
}

if [ -f "$here/$name.deb" ]; then
	dpkg -r $name || fail "dpkg failed"
elif [ -f "$here/$name.rpm" ]; then
	yum -y --cacheonly remove $name 2>/dev/null || rpm -e $name || fail "rpm failed"
else
	fail "there is neither $name.deb nor $name.rpm beside it"
fi
