#!/bin/sh
# test-windows.sh: what `make test-windows` runs inside scripts/wine.sh. It needs
# the programs of this machine in SSMAGENT_BIN.
set -eu
cd "$(dirname "$0")/.."
# Packages whose own code asks Windows: what is not in them is the same on both.
go test -timeout 4m -exec "$WINRUN" ./platform/... ./fingerprint ./service ./shell/... ./users/... ./cmd/internal/connect \
	./internal/step/artifact ./internal/step/applications ./internal/step/psmodule ./internal/step/cloudwatch
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
