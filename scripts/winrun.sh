#!/bin/sh
# winrun.sh PROGRAM ARGUMENT…: runs a Windows program by wine, for `go test
# -exec`. Without standard input, for which wine's console would wait, and with
# its output by way of a file: what wine starts beside it (its consoles) holds
# that open, and may take longer to end.
out=$(mktemp "$WINEPREFIX/out.XXXXXX") || exit 1
wine "$@" </dev/null >"$out" 2>&1
rc=$?
cat "$out"
rm -f "$out"
exit $rc
