#!/bin/sh
# test-windows.sh: what `make test-windows` runs inside scripts/wine.sh. It needs
# the programs of this machine in SSMAGENT_BIN.
set -eu
cd "$(dirname "$0")/.."
# Packages whose own code asks Windows: what is not in them is the same on both.
go test -timeout 4m -exec "$WINRUN" ./platform/... ./fingerprint ./service ./shell/... ./users/userstest ./cmd/internal/connect ./wix \
	./internal/step/artifact ./internal/step/applications ./internal/step/psmodule ./internal/step/cloudwatch
# Wine has no accounts that other processes see: a library that records what it
# is told takes the place of its own, for the package that is about them.
export SSMAGENT_WINDOWS_RECORDER="$PWD/build/_wine/recorder"
mkdir -p "$SSMAGENT_WINDOWS_RECORDER"
x86_64-w64-mingw32-gcc -shared -s -O1 -Wall -Wextra -Werror -o "$SSMAGENT_WINDOWS_RECORDER/netapi32.dll" \
	users/testdata/recorder/recorder.c users/testdata/recorder/recorder.def -ladvapi32
system=$WINEPREFIX/drive_c/windows/system32
mv "$system/netapi32.dll" "$system/netapi32.wine"
cp "$SSMAGENT_WINDOWS_RECORDER/netapi32.dll" "$system/netapi32.dll"
WINEDLLOVERRIDES="netapi32=n;$WINEDLLOVERRIDES" go test -timeout 4m -exec "$WINRUN" ./users
mv "$system/netapi32.wine" "$system/netapi32.dll"
# Two versions as they get shipped, but for wine; test-windows-package.sh takes them, too.
for version in 0 1; do
	make --no-print-directory "BIN=build/_wine/packages/$version" "VERSION=3.3.900$version.0" package-win_amd64 >&2
done
export SSMAGENT_WINDOWS_PACKAGES="$PWD/build/_wine/packages" SSMAGENT_WINDOWS="$PWD/build/_wine/packages/0/windows_amd64"
go build -o "$SSMAGENT_WINDOWS/" ./internal/e2e/testdata/powershell ./internal/e2e/testdata/handles
# An agent that asks the recording library for log-ons, too.
go build -tags recorder -o "$SSMAGENT_WINDOWS_RECORDER/" ./cmd/amazon-ssm-agent
# Not in place: the prefix shares its files with the template.
powershell=$WINEPREFIX/drive_c/windows/system32/WindowsPowerShell/v1.0/powershell.exe
rm -f "$powershell"
cp "$SSMAGENT_WINDOWS/powershell.exe" "$powershell"
# The other end of the main job is this machine.
unset GOOS GOARCH
GOFLAGS=${OUTSIDE_GOFLAGS:-} go test -count=1 -timeout 9m -run '^TestWine' -skip '^TestWinePackage' ./internal/e2e/
