#!/bin/sh
# need.sh TOOL…: makes sure that the tools a test suite drives are there,
# installing them on Debian or Ubuntu where we may. Exit 3: not here, and why.
set -u
package() {
	case $1 in
	aws) echo awscli ;;
	*) echo "$1" ;;
	esac
}
present() {
	case $1 in
	aws) [ -x /usr/bin/aws ] ;; # Debian's, not one that a user has in PATH
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}
missing=
for tool in "$@"; do
	present "$tool" || missing="$missing $(package "$tool")"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
	echo "needs$missing, and this is neither Debian nor Ubuntu: install them by hand" >&2
	exit 3
fi
if [ "$(id -u)" = 0 ]; then
	sudo=
elif sudo -n true 2>/dev/null; then
	sudo='sudo -n'
else
	echo "needs$missing, and neither root nor passwordless sudo is here: apt-get install$missing" >&2
	exit 3
fi
# shellcheck disable=SC2086 # a list of words
{ $sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing; } >&2 || {
	echo "apt-get could not install$missing (see above)" >&2
	exit 3
}
