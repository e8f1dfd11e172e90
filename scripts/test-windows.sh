#!/bin/sh
# test-windows.sh: what `make test-windows` runs inside scripts/wine.sh. It needs
# the programs of this machine in SSMAGENT_BIN.
set -eu
cd "$(dirname "$0")/.."
# Packages whose own code asks Windows: what is not in them is the same on both.
go test -timeout 4m -exec "$WINRUN" ./platform/... ./fingerprint ./service ./shell/... ./users/userstest ./cmd/internal/connect \
	./internal/step/artifact ./internal/step/applications ./internal/step/psmodule ./internal/step/cloudwatch
# Wine has no accounts that other processes see: a library that records what it
# is told takes the place of its own, for the package that is about them.
system=$WINEPREFIX/drive_c/windows/system32
mv "$system/netapi32.dll" "$system/netapi32.wine"
x86_64-w64-mingw32-gcc -shared -s -O1 -Wall -Wextra -Werror -o "$system/netapi32.dll" \
	users/testdata/recorder/recorder.c users/testdata/recorder/recorder.def -ladvapi32
WINEDLLOVERRIDES="netapi32=n;$WINEDLLOVERRIDES" go test -timeout 4m -exec "$WINRUN" ./users
mv "$system/netapi32.wine" "$system/netapi32.dll"
export SSMAGENT_WINDOWS="$PWD/build/_wine/bin"
go build -o "$SSMAGENT_WINDOWS/" ./cmd/amazon-ssm-agent ./internal/e2e/testdata/powershell
# Not in place: the prefix shares its files with the template.
powershell=$WINEPREFIX/drive_c/windows/system32/WindowsPowerShell/v1.0/powershell.exe
rm -f "$powershell"
cp "$SSMAGENT_WINDOWS/powershell.exe" "$powershell"
# The other end of the main job is this machine.
unset GOOS GOARCH
GOFLAGS=${OUTSIDE_GOFLAGS:-} go test -count=1 -timeout 4m -run '^TestWine' ./internal/e2e/
printf '\n'
grep '^|' docs/windows-evidence.md
