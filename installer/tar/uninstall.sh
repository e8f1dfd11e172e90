#!/bin/sh
# uninstall.sh [--purge]: takes away what install.sh has put on this machine.
# Configuration, registration and logs stay unless they are purged; the account
# ssm-user and its home stay: its files are a person's.
set -eu
unit=amazon-ssm-agent.service
fail() {
	echo "uninstall.sh: $*" >&2
	exit 1
}
purge=
case ${1-} in
'') ;;
--purge) purge=yes ;;
*) fail "$1 is unknown; --purge removes configuration, registration and logs too" ;;
esac
[ "$(id -u)" = 0 ] || fail "run it as root"
[ -e "/usr/local/lib/systemd/system/$unit" ] || fail "install.sh has put no agent here; a package is removed by dpkg -r or rpm -e"
if command -v systemctl >/dev/null 2>&1; then
	if [ -d /run/systemd/system ]; then
		systemctl stop "$unit" || fail "the agent cannot be stopped"
	fi
	systemctl disable "$unit" >/dev/null 2>&1 || :
fi
rm -f "/usr/local/lib/systemd/system/$unit" /etc/amazon/ssm/amazon-ssm-agent.json.template
for program in ssm-cli ssm-document-worker ssm-local ssm-session-worker amazon-ssm-agent; do
	rm -f "/usr/bin/$program"
done
rm -rf /usr/share/doc/amazon-ssm-agent
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ -n "$purge" ]; then
	rm -rf /var/lib/amazon/ssm /var/log/amazon/ssm /etc/amazon/ssm
	rmdir /var/lib/amazon /var/log/amazon /etc/amazon 2>/dev/null || :
fi
