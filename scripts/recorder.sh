#!/bin/sh
# recorder.sh COMMAND…: runs COMMAND, inside scripts/wine.sh, on a machine whose
# accounts are those that users/testdata/recorder makes up: wine has none that
# other processes see. The library stays in build/_wine/recorder.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/_wine/recorder
x86_64-w64-mingw32-gcc -shared -s -O1 -Wall -Wextra -Werror -o build/_wine/recorder/netapi32.dll \
	users/testdata/recorder/recorder.c users/testdata/recorder/recorder.def -ladvapi32
# Not in place: the prefix shares its files with the template.
system=$WINEPREFIX/drive_c/windows/system32
mv "$system/netapi32.dll" "$system/netapi32.wine"
cp build/_wine/recorder/netapi32.dll "$system/netapi32.dll"
rc=0
WINEDLLOVERRIDES="netapi32=n;$WINEDLLOVERRIDES" "$@" || rc=$?
mv "$system/netapi32.wine" "$system/netapi32.dll"
exit $rc
