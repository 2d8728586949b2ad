#!/usr/bin/env bash
# Runs one fuzz target for as long as wanted: fuzz/run.sh TARGET SECONDS [libFuzzer's OPTION…]
# What it finds is kept in the build directory, under fuzz/corpus, and taken up again by the next run.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -lt 2 ] || [ ! -f "$fuzz/targets/$1.rs" ]; then
    sed -n '2,3{s/^# //p}' "${BASH_SOURCE[0]}" >&2
    printf 'Targets: %s\n' "$(targets | paste -sd ' ')" >&2
    exit 2
fi
build "$1"
fuzz_target "$1" "$kept/corpus/$1" "${@:2}"
