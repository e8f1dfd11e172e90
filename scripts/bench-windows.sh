#!/bin/sh
# bench-windows.sh: what `make bench-windows` runs inside scripts/wine.sh, so many
# times as SSMAGENT_SESSIONS says. It needs the programs of this machine in
# SSMAGENT_BIN.
set -eu
cd "$(dirname "$0")/.."
go test -count=1 -v -timeout 30m -run 'Handles$' -exec "$WINRUN" ./platform/proc ./shell
scripts/recorder.sh go test -count=1 -v -timeout 30m -run 'Handles$' -exec "$WINRUN" ./users
export SSMAGENT_WINDOWS="$PWD/build/_wine/bin"
go build -o "$SSMAGENT_WINDOWS/" ./cmd/amazon-ssm-agent ./internal/e2e/testdata/powershell ./internal/e2e/testdata/handles
cd "$WINEPREFIX/drive_c/windows/system32/WindowsPowerShell/v1.0"
rm -f powershell.exe # the prefix shares its files with the template
cp "$SSMAGENT_WINDOWS/powershell.exe" .
cd "$OLDPWD"
unset GOOS GOARCH
GOFLAGS=${OUTSIDE_GOFLAGS:-} go test -count=1 -v -timeout 60m -run '^TestWineSessions$/^handles$' ./internal/e2e/
