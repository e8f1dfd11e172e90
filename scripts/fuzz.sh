#!/bin/sh
# fuzz.sh DURATION: runs every fuzz test of the module for DURATION, one after
# the other, and stops at the first that finds something.
set -eu
grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
	dir=$(dirname "$file")
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		echo "== $dir $name"
		go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$1" -fuzzminimizetime 5x
	done
done
