#!/bin/sh
# need.sh TOOL…: makes sure that the tools a test suite drives are there,
# installing them on Debian or Ubuntu where we may. Exit 3: not here, and why.
set -u
tools=$(cd "$(dirname "$0")/.." && pwd)/build/tools/debian
package() {
	case $1 in
	aws) echo awscli ;;
	busybox) echo busybox-static ;;
	node) echo nodejs ;;
	ssh | ssh-keygen) echo openssh-client ;;
	sshd) echo openssh-server ;;
	ip) echo iproute2 ;;
	msibuild | msiinfo) echo msitools ;;
	mke2fs) echo e2fsprogs ;;
	qemu-system-x86_64) echo qemu-system-x86 ;;
	qemu-aarch64-static) echo qemu-user-static ;;
	systemd-nspawn) echo systemd-container ;;
	top) echo procps ;;
	unshare | nsenter) echo util-linux ;;
	useradd) echo passwd ;;
	x86_64-w64-mingw32-gcc) echo gcc-mingw-w64-x86-64-win32 ;;
	visudo) echo sudo ;;
	vi) echo vim-tiny ;;
	*) echo "$1" ;;
	esac
}
present() {
	case $1 in
	aws) [ -x /usr/bin/aws ] ;; # Debian's, not one that a user has in PATH
	sshd) [ -x /usr/sbin/sshd ] || [ -x "$tools/usr/sbin/sshd" ] ;;
	libnss-extrausers) [ -n "$(find /usr/lib -maxdepth 2 -name 'libnss_extrausers.so.2')" ] ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}
# unpack puts a package and what it lacks here into $tools: installed, it
# would start a service and make a user.
unpack() {
	new=$tools.new
	rm -rf "$new"
	mkdir -p "$new/deb" || return
	wanted=$(apt-get install -s --no-install-recommends "$1" | sed -n 's/^Inst \([^ ]*\).*/\1/p') || return
	# shellcheck disable=SC2086 # a list of words
	(cd "$new/deb" && apt-get download -q $wanted) || return
	for deb in "$new"/deb/*.deb; do
		dpkg-deb -x "$deb" "$new" || return
	done
	rm -rf "$new/deb" "$tools" && mv "$new" "$tools"
}
missing=
install=
for tool in "$@"; do
	present "$tool" && continue
	missing="$missing $(package "$tool")"
	[ "$tool" = sshd ] || install="$install $(package "$tool")"
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
$sudo apt-get update -q >&2
# shellcheck disable=SC2086 # a list of words
[ -z "$install" ] || DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $install >&2 || {
	echo "apt-get could not install$install (see above)" >&2
	exit 3
}
case $missing in
*openssh-server*)
	unpack openssh-server >&2 || {
		echo "apt-get could not fetch openssh-server, of which sshd is unpacked into $tools (see above)" >&2
		exit 3
	}
	;;
esac
