#!/usr/bin/env bash
# Counts the instructions of a point select through the proxy, and of its classification, and compares them with the
# recorded ones: times are too noisy for that on most machines.
#
#   tests/instructions/run.sh
#       BUILD=dev       dev: the build of the other tests, so that nothing is built for it alone | release
#       RECORD=         1: print what is to be recorded, and compare nothing
#
# The proxy runs under valgrind's callgrind, between a client and a cluster of containers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=../containers/lib.sh
. "$root/tests/containers/lib.sh"

target_directory=${CARGO_TARGET_DIR:-$root/target}
build=${BUILD:-dev}
python=${RWPROXY_TEST_PYTHON:-$target_directory/venv/bin/python}
cluster=$root/tests/containers/cluster.sh
name=${RWPROXY_TEST_RUN:-run$$}-instructions

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    "$cluster" down "$name" || say "cleaning up failed"
    exit "$status"
}

main() {
    need valgrind "tests/containers/prepare.sh test"
    [ -x "$python" ] || die "$python is missing (tests/containers/prepare.sh test)"
    require_docker
    local directory=$build
    if [ "$build" = dev ]; then
        directory=debug
        # As for the other tests, with the features of theirs.
        (cd "$root" && cargo test --no-run --test containers)
    else
        (cd "$root" && cargo build --profile "$build" --bin rwproxy)
    fi
    "$cluster" up "$name" FLAVOUR=mysql >/dev/null
    "$cluster" sql "$name" primary 'CREATE TABLE app.sbtest1 (id INT PRIMARY KEY, c CHAR(120) NOT NULL)' >/dev/null
    PYTHONDONTWRITEBYTECODE=1 "$python" "$here/count.py" --binary "$target_directory/$directory/rwproxy" \
        --build "$build" --cluster "$name" ${RECORD:+--record}
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
main
