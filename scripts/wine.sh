#!/bin/sh
# wine.sh COMMAND…: runs COMMAND where Windows programs run, under wine: in a
# network of its own that has nothing but a loopback (wine's sockets belong to
# its server, so the server is started there too), with a prefix of its own,
# and with nothing left when it ends. COMMAND finds GOOS=windows, the patches
# for building (GOFLAGS, which were OUTSIDE_GOFLAGS) and $WINRUN, the program for
# `go test -exec`.
#
# The prefix is a copy of build/_wine/template, which is made when it is not
# there or when this file or wineshim has changed. `wine.sh -machine PREFIX` makes
# one more copy, in an empty folder beside it, for tests inside, and
# `wine.sh -up` waits for the services of the one in WINEPREFIX.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
wine=$here/build/_wine # Go looks for packages in no directory with such a name
# Wine's own trouble is not ours, and neither .NET nor HTML is asked for.
export WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml=' WINEARCH=win64
unset DISPLAY WAYLAND_DISPLAY XDG_RUNTIME_DIR

# template makes a fresh prefix. The server is started first and with its
# output closed: it inherits what its client has open, and outlives it.
template() {
	rm -rf "$wine/template.new"
	mkdir -p "$wine/template.new"
	export WINEPREFIX=$wine/template.new
	wineserver -p >/dev/null 2>&1 </dev/null
	wineboot -i >/dev/null 2>&1 </dev/null
	wine reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null 2>&1 </dev/null # Go asks for Windows 10
	wineserver -k && wineserver -w
	(cd "$here" && go run ./cmd/internal/wineshim \
		-dll "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" -overlay "$wine/overlay")
	# For whoever runs recorded programs, and for no one to find the house.
	rm -f "$WINEPREFIX"/dosdevices/[d-y]:*
	rm -rf "$wine/template" && mv "$WINEPREFIX" "$wine/template"
	cp "$wine/stamp.new" "$wine/stamp"
}

# machine copies the template to a prefix. Files that nobody writes in place are
# shared with it.
machine() {
	cp -al "$wine/template/." "$1/"
	for file in "$1"/*.reg "$1"/.update-timestamp; do
		[ ! -f "$file" ] || { cp -p "$file" "$file.own" && mv "$file.own" "$file"; }
	done
}

# up waits until services run that come with a machine's first program, but
# side by side with it: without nsiproxy, for one, there are no network adapters.
up() {
	for service in nsiproxy Eventlog; do
		tries=0
		until wine sc query $service 2>&1 </dev/null | grep -q RUNNING; do
			[ $((tries += 1)) -lt 100 ] || { echo "wine.sh: $service does not run" >&2; return 1; }
			sleep 0.2
		done
	done
}

if [ "${1:-}" = -machine ]; then
	machine "$2"
	exit
fi
if [ "${1:-}" = -up ]; then
	up
	exit
fi
if [ "${SSMAGENT_WINE:-}" != inside ]; then
	mkdir -p "$wine"
	# One at a time makes the template; each uses a copy of its own.
	exec 9>"$wine/lock"
	flock 9
	cat "$0" "$here"/cmd/internal/wineshim/*.go >"$wine/stamp.new"
	(wine --version; go version) >>"$wine/stamp.new" 2>/dev/null
	cmp -s "$wine/stamp.new" "$wine/stamp" || template
	(cd "$here" && go run ./cmd/internal/wineshim -module "$wine/module")
	# Modules come from outside: what either system's programs and tests need.
	(cd "$here" && go list -deps -test ./... >/dev/null &&
		GOOS=windows GOFLAGS="${GOFLAGS:-} -modfile=$wine/module/go.mod" go list -deps -test ./... >/dev/null)
	prefix=$(mktemp -d "$wine/prefix.XXXXXX")
	machine "$prefix"
	exec 9>&-
	# Below here nothing is outside any more: what still runs when the first
	# process of the name space ends, ends with it.
	rc=0
	user=
	[ "$(id -u)" = 0 ] || user='--user --map-root-user'
	# shellcheck disable=SC2086 # two words or none
	SSMAGENT_WINE=inside WINEPREFIX=$prefix unshare $user --net --pid --mount-proc --fork --kill-child "$0" "$@" || rc=$?
	rm -rf "$prefix"
	exit $rc
fi
ip link set lo up
export OUTSIDE_GOFLAGS="${GOFLAGS:-}" GOOS=windows GOARCH=amd64 GOFLAGS="${GOFLAGS:-} -overlay=$wine/overlay/overlay.json -modfile=$wine/module/go.mod" WINRUN="$here/scripts/winrun.sh"
wineserver -p >/dev/null 2>&1 </dev/null
# Wine's services go with the last program, and come with the next, whose output
# they would then hold open: this one stays.
sleep infinity | wine cmd >/dev/null 2>&1 &
rc=0
{ up && "$@"; } || rc=$?
wineserver -k || true
exit $rc
