#!/bin/sh
# Runs durations.c natively over the shared input and compares with the expected output.
set -eu
cd "$(dirname "$0")"
program=$(mktemp)
trap 'rm -f "$program"' EXIT
"${CC:-cc}" -std=gnu11 -O1 -Wall -Wextra -I"${WEIR_SDK:-../../../sdk/c}" -o "$program" test.c
"$program" ../testdata/day
