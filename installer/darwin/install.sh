#!/bin/sh
# Installs the agent on macOS, or another version of it over the one that is
# there, and registers the machine if it is told how:
#
#	install.sh [register-managed-instance CODE ID REGION]
#
# Shells and commands of an agent that is replaced go on. It exits with 1 for
# wrong arguments, without root, or for a registration that failed, with 125 when
# files could not be put in place or launchd does not take the job.
set -u
name=amazon-ssm-agent
job=com.amazon.aws.ssm
here=$(cd "$(dirname "$0")" && pwd)
root=${ROOT-} # of tests
bin=$root/opt/aws/ssm/bin
plist=$root/Library/LaunchDaemons/$job.plist

fail() { # CODE TEXT
	echo "install.sh: $2" >&2
	exit "$1"
}

# place FILE DIRECTORY MODE puts it there whole: running programs keep the old one.
place() {
	install -d -m 0755 "$2" && install -m "$3" "$here/$1" "$2/.$1.new" && mv -f "$2/.$1.new" "$2/$1" || fail 125 "$2/$1 cannot be written"
}

case $#${1+-$1} in
0 | 4-register-managed-instance) ;;
*) fail 1 "usage: install.sh [register-managed-instance CODE ID REGION]" ;;
esac
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail 1 "only root may install: sudo $0"

place $name "$bin" 0755
for link in ssm-cli ssm-document-worker ssm-local ssm-session-worker; do
	ln -sfn $name "$bin/$link" || fail 125 "$bin/$link cannot be made"
done
place $name.json.template "$root/opt/aws/ssm" 0644
place NOTICE.txt "$root/opt/aws/ssm" 0644
[ ! -f "$plist" ] || launchctl unload "$plist" 2>/dev/null
place $job.plist "$(dirname "$plist")" 0644

if [ $# -eq 4 ]; then
	printf %s "$2" | "$bin/$name" -register -code-file - -id "$3" -region "$4" || fail 1 "the agent is installed, but the machine is not registered: run $bin/$name -register, and then launchctl load $plist"
fi
launchctl load "$plist" || fail 125 "launchd does not take $plist"
