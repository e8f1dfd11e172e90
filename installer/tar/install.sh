#!/bin/sh
# install.sh: puts the agent on this machine, with the paths that its packages
# have. It may be run again, also of another version: configuration,
# registration and logs stay, and so do sessions and commands that run.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
unit=amazon-ssm-agent.service
units=/usr/local/lib/systemd/system # an administrator's copy in /etc goes before it
fail() {
	echo "install.sh: $*" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || fail "run it as root"
if command -v dpkg-query >/dev/null 2>&1 && dpkg-query -W -f '${db:Status-Status}' amazon-ssm-agent 2>/dev/null | grep -qx installed; then
	fail "the Debian package amazon-ssm-agent is installed: install the new .deb, or remove the package first (dpkg -r amazon-ssm-agent)"
fi
if command -v rpm >/dev/null 2>&1 && rpm -q amazon-ssm-agent >/dev/null 2>&1; then
	fail "the RPM amazon-ssm-agent is installed: install the new .rpm, or remove the package first (rpm -e amazon-ssm-agent)"
fi
# place FILE MODE PATH: whole or not at all, and also where the old one runs.
place() {
	mkdir -p "$(dirname "$3")"
	cp "$here/$1" "$3.new" && chmod "$2" "$3.new" && mv -f "$3.new" "$3" || {
		rm -f "$3.new"
		fail "$3 cannot be written"
	}
}
first=
[ -e "$units/$unit" ] || first=yes
place amazon-ssm-agent 755 /usr/bin/amazon-ssm-agent
for link in ssm-cli ssm-document-worker ssm-local ssm-session-worker; do
	ln -sf amazon-ssm-agent "/usr/bin/$link"
done
place amazon-ssm-agent.json.template 644 /etc/amazon/ssm/amazon-ssm-agent.json.template
for doc in "$here"/doc/*; do
	place "doc/${doc##*/}" 644 "/usr/share/doc/amazon-ssm-agent/${doc##*/}"
done
place uninstall.sh 755 /usr/share/doc/amazon-ssm-agent/uninstall.sh
place "$unit" 644 "$units/$unit"
if command -v systemctl >/dev/null 2>&1 && [ -n "$first" ]; then
	systemctl enable "$unit" >/dev/null 2>&1 || echo "install.sh: the unit is not enabled: systemctl enable $unit says why" >&2
fi
if [ ! -d /run/systemd/system ]; then
	echo "No systemd runs here: have this machine's service manager run /usr/bin/amazon-ssm-agent as root, and run it again when it ends."
	exit 0
fi
systemctl daemon-reload
deed=try-restart # what was stopped stays so
[ -z "$first" ] || deed=start
systemctl "$deed" "$unit" 2>/dev/null ||
	echo "amazon-ssm-agent does not run yet: systemctl status amazon-ssm-agent says why (register the machine, then systemctl restart amazon-ssm-agent)" >&2
