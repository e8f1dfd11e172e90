#!/bin/sh
# Installs the package beside this script, and registers the machine if it is
# told how:
#
#	install.sh [register-managed-instance CODE ID REGION]
#
# It exits with 1 for wrong arguments or a registration that failed, with 124 on
# a system without systemd, with 125 when the package manager failed.
set -u
name=amazon-ssm-agent
here=$(dirname "$0")

fail() { # CODE TEXT
	echo "install.sh: $2" >&2
	exit "$1"
}

case $#${1+-$1} in
0 | 4-register-managed-instance) ;;
*) fail 1 "usage: install.sh [register-managed-instance CODE ID REGION]" ;;
esac
[ -d "${SYSTEMD_DIR-/run/systemd/system}" ] || fail 124 "systemd does not run here; install the package by hand and run the agent under what supervises programs here"

if [ -f "$here/$name.deb" ]; then
	want=$(dpkg-deb -f "$here/$name.deb" Version) || fail 125 "$name.deb is no package"
	if ! dpkg -i "$here/$name.deb"; then
		# What is there may be what was asked for all the same.
		[ "$(dpkg-query -W -f '${Status} ${Version}' $name 2>/dev/null)" = "install ok installed $want" ] || fail 125 "dpkg failed"
	fi
elif [ -f "$here/$name.rpm" ]; then
	want=$(rpm -qp --qf '%{VERSION}-%{RELEASE}' "$here/$name.rpm") || fail 125 "$name.rpm is no package"
	if [ "$(rpm -q --qf '%{VERSION}-%{RELEASE}' $name 2>/dev/null)" != "$want" ]; then
		# yum knows of it then; without its network, for everything is here.
		yum -y --cacheonly localinstall "$here/$name.rpm" 2>/dev/null || rpm -U "$here/$name.rpm" || fail 125 "rpm failed"
	fi
else
	fail 125 "there is neither $name.deb nor $name.rpm beside it"
fi

if [ $# -eq 4 ]; then
	printf %s "$2" | $name -register -code-file - -id "$3" -region "$4" || fail 1 "the package is installed, but the machine is not registered: run $name -register"
	systemctl restart $name.service || fail 1 "the machine is registered, but $name does not start: systemctl status $name says why"
fi
