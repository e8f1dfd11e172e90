#!/bin/sh
# alone.sh COMMAND…: runs it and prints what it said when it has ended, in one
# piece: for commands that run side by side.
set -u
said=$(mktemp)
rc=0
"$@" >"$said" 2>&1 || rc=$?
cat "$said"
rm -f "$said"
exit $rc
