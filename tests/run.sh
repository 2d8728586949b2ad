#!/usr/bin/env bash
# The steps behind the Makefile's targets, one after the other, each with the time it took: tests/run.sh STEP…
# Containers and networks that the tests start carry the name of this run and are removed at its end, however it ends.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=containers/lib.sh
. tests/containers/lib.sh

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
# The tests' clusters are named so: tests/containers/cluster.sh up "$RWPROXY_TEST_RUN-…".
export RWPROXY_TEST_RUN="run$$"
# Python with the drivers of drivers.txt.
export RWPROXY_TEST_PYTHON="$CARGO_TARGET_DIR/venv/bin/python"

# -- the steps -----------------------------------------------------------------------------------------------------

packages()       { tests/containers/prepare.sh build docker images lint test; }
packages_bench() { tests/containers/prepare.sh build docker images test bench; }
images()         { tests/containers/build-images.sh; }

# The database images while the tests are compiled: on a bare machine each takes minutes, and leaves half of it idle.
images_and_build() {
    local log="$CARGO_TARGET_DIR/build.log" building
    mkdir -p "$CARGO_TARGET_DIR"
    say "compiling the tests meanwhile ($log)"
    (cargo test --no-run && cargo test --no-run --test containers) >"$log" 2>&1 </dev/null &
    building=$!
    images
    wait "$building" || { tail -n 60 "$log" >&2; die "the tests do not compile"; }
}

# Every test but those in tests/containers; they need servers.
unit() {
    local file targets=()
    for file in tests/*.rs; do
        [ ! -f "$file" ] || targets+=(--test "$(basename "$file" .rs)")
    done
    cargo test --lib --bins ${targets[@]+"${targets[@]}"}
    cargo test --doc
}

containers() {
    require_docker
    # Its client is one of the drivers that log in.
    tests/containers/build-images.sh mariadb-11.8
    local binary
    binary=$(cargo test --no-run --test containers --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\/containers-[^"]*\)".*/\1/p')
    # Its messages say what failed; the frames of sixty futures bury them.
    RUST_BACKTRACE=0 in_time 3000 "$binary"
}

# A binary of tests; where they have not ended after these seconds, says which have not and what runs, and ends them.
in_time() {
    local seconds=$1 binary=$2 log reporter status=0
    log=$(mktemp)
    report_when_late "$seconds" "$binary" "$log" &
    reporter=$!
    timeout --foreground --kill-after=10 "$((seconds + 20))" "$binary" > >(tee "$log") || status=$?
    kill "$reporter" 2>/dev/null || true
    rm -f "$log"
    return "$status"
}

report_when_late() {
    local end=$((SECONDS + $1)) binary=$2 log=$3
    while [ "$SECONDS" -lt "$end" ]; do sleep 2; done
    say "not ended after $1 s:"
    comm -23 <("$binary" --list | sed -n 's/: test$//p' | sort) \
        <(sed -n 's/^test \(.*\) \.\.\. .*/\1/p' "$log" | sort) >&2
    ps -e -o pid,ppid,etime,stat,args --forest | cut -c 1-200 | grep -v ' \[' >&2
}

# What waits for groups to notice, and to elect, and for lag to grow, is ignored otherwise.
cluster() {
    require_docker
    cargo test --test containers -- groups:: galera:: lag:: --include-ignored --test-threads=2
}

fuzz_smoke() { fuzz/smoke.sh; }
instructions() { tests/instructions/run.sh; }
bench()      { benches/system/run.sh; }
soak()       { tests/soak/run.sh; }

# Those named in SUITES, or all.
suites() {
    # shellcheck disable=SC2086  # a list of names
    tests/suites/run.sh ${SUITES:-}
}

lint() {
    cargo fmt --check
    rustfmt --check --edition 2024 fuzz/src/*.rs fuzz/targets/*.rs
    cargo clippy --all-targets -- -D warnings
    # Not among all targets: it has test = false.
    cargo clippy --test containers -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet
    if command -v shellcheck >/dev/null 2>&1; then
        git ls-files -- '*.sh' .ci/run | xargs shellcheck --external-sources --source-path=SCRIPTDIR
    else
        say "shellcheck is not installed: shell scripts not checked"
    fi
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny check
    else
        say "cargo-deny is not installed: licences and advisories not checked"
    fi
}

# -- running them --------------------------------------------------------------------------------------------------

current=
cleanup() {
    local status=$?
    trap - EXIT INT TERM
    jobs -pr | xargs -r kill 2>/dev/null || true
    if command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1; then
        tests/containers/cluster.sh down --all-of-run "$RWPROXY_TEST_RUN-" || say "cleaning up failed"
    fi
    if [ "$status" -ne 0 ]; then
        printf '\nFAILED: %s (after %d s)\n' "${current:-before the first step}" "$SECONDS" >&2
    fi
    exit "$status"
}

main() {
    local step began
    [ $# -gt 0 ] || die "which steps?"
    need cargo "see https://rustup.rs"
    for step in "$@"; do
        current=$step
        began=$SECONDS
        printf '\n=== %s\n' "$step" >&2
        "${step//-/_}"
        say "$step: done in $((SECONDS - began)) s"
    done
    printf '\nAll passed: %s (%d s).\n' "$*" "$SECONDS"
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
main "$@"
