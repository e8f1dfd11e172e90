#!/bin/sh
# winrun.sh PROGRAM ARGUMENT…: runs a Windows program by wine, for `go test
# -exec`. Without standard input: wine's console would wait for it.
exec wine "$@" </dev/null
