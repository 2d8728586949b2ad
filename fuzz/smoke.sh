#!/usr/bin/env bash
# Runs each fuzz target for a few seconds, from the committed seeds: fuzz/smoke.sh [SECONDS=5] [TARGET…]
# One line a target; on a failure the end of its output and the input that caused it, and exit status 1.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:-5}
shift || true
work=$(mktemp -d -t rwproxy-fuzz.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# smoke TARGET: its line; the output stays in a file.
smoke() {
    local target=$1 log="$work/$1.log" status=0
    fuzz_target "$target" "$work/$target" "$seconds" >"$log" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        printf '%-12s %9s runs, %5s edges\n' "$target" "$(stat_of number_of_executed_units "$log")" \
            "$(sed -n 's/^#.*DONE .*cov: \([0-9]*\).*/\1/p' "$log")"
    else
        printf '%-12s FAILED\n' "$target"
        touch "$work/failed"
        tail -n 60 "$log" >&2
    fi
}

stat_of() { sed -n "s/^stat::$1: *//p" "$2"; }

main() {
    local target targets jobs
    build "$@"
    targets=("$@")
    [ $# -gt 0 ] || mapfile -t targets < <(targets)
    jobs=$(nproc)
    for target in "${targets[@]}"; do
        while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n || true; done
        smoke "$target" &
    done
    wait
    [ ! -e "$work/failed" ] || { echo "inputs that fail: $kept/artifacts" >&2; exit 1; }
}

main "$@"
