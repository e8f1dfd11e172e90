#!/bin/sh
# test.sh SUITE…: runs the make targets, then prints a table of what passed,
# failed, or could not run here and why. In CI a suite that could not run is a
# failure.
set -u
mkdir -p build
status=0
table=
for suite in "$@"; do
	log=build/$suite.log
	echo "== $suite"
	# The pipe would hide make's status, so it travels by a file.
	{ ${MAKE:-make} --no-print-directory "$suite" 2>&1; echo $? >"$log.rc"; } | tee "$log"
	rc=$(cat "$log.rc")
	if [ "$rc" = 0 ]; then
		row="passed"
	elif why=$(grep -E '^(needs|apt-get could not)' "$log" | tail -n 1) && [ -n "$why" ]; then
		row="could not run: $why"
		[ -n "${CI:-}" ] && status=1
	else
		row="FAILED (see $log)"
		status=1
	fi
	table="$table$(printf '%-14s %s' "$suite" "$row")
"
done
printf '\n%s' "$table"
exit $status
