#!/bin/sh
# test-windows-package.sh TEST: runs one test of the packages that
# test-windows.sh has made, inside scripts/wine.sh: each changes its whole machine.
set -eu
cd "$(dirname "$0")/.."
export SSMAGENT_WINDOWS_PACKAGES="$PWD/build/_wine/packages"
unset GOOS GOARCH
GOFLAGS=${OUTSIDE_GOFLAGS:-} exec go test -count=1 -timeout 4m -v -run "^$1\$" ./internal/e2e/
