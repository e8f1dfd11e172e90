#!/bin/sh
# test-windows.sh: what `make test-windows` runs inside scripts/wine.sh. It needs
# the programs of this machine in SSMAGENT_BIN.
set -eu
cd "$(dirname "$0")/.."
# Packages whose own code asks Windows: what is not in them is the same on both.
go test -timeout 4m -exec "$WINRUN" ./platform/... ./fingerprint ./service ./shell/... ./users/userstest ./cmd/internal/connect ./wix \
	./internal/step/artifact ./internal/step/applications ./internal/step/psmodule ./internal/step/cloudwatch
scripts/recorder.sh go test -timeout 4m -exec "$WINRUN" ./users
# Two versions as they get shipped, but for wine; test-windows-package.sh takes them, too.
for version in 0 1; do
	make --no-print-directory "BIN=build/_wine/packages/$version" "VERSION=3.3.900$version.0" package-win_amd64 >&2
done
export SSMAGENT_WINDOWS_PACKAGES="$PWD/build/_wine/packages" SSMAGENT_WINDOWS="$PWD/build/_wine/packages/0/windows_amd64"
go build -o "$SSMAGENT_WINDOWS/" ./internal/e2e/testdata/powershell ./internal/e2e/testdata/handles
# An agent that asks the library of recorder.sh for log-ons, too.
export SSMAGENT_WINDOWS_RECORDER="$PWD/build/_wine/recorder"
go build -tags recorder -o "$SSMAGENT_WINDOWS_RECORDER/" ./cmd/amazon-ssm-agent
# Not in place: the prefix shares its files with the template.
powershell=$WINEPREFIX/drive_c/windows/system32/WindowsPowerShell/v1.0/powershell.exe
rm -f "$powershell"
cp "$SSMAGENT_WINDOWS/powershell.exe" "$powershell"
# The other end of the main job is this machine.
unset GOOS GOARCH
GOFLAGS=${OUTSIDE_GOFLAGS:-} go test -count=1 -timeout 9m -parallel "$((2 * $(nproc)))" -run '^TestWine' -skip '^TestWinePackage' ./internal/e2e/
