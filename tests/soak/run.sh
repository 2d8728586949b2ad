#!/usr/bin/env bash
# Mixed load through the proxy on each flavour, judged by the servers' general logs, then failures under load, then
# random sessions beside the same ones directly, packet by packet.
#
#   tests/soak/run.sh [SECONDS=600] [FLAVOUR=both]
#       FLAVOUR: mysql | mariadb | both
#
# The same tests as in `make test`, where the load lasts twenty seconds and the random sessions are short.
# DIFFERENTIAL_OPERATIONS (100000) and DIFFERENTIAL_SEED (1) say how many random operations, and which.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=../containers/lib.sh
. tests/containers/lib.sh

export DIFFERENTIAL_OPERATIONS=${DIFFERENTIAL_OPERATIONS:-100000}
export SOAK_SECONDS=${1:-${SOAK_SECONDS:-600}}
flavour=${2:-both}
case $flavour in
    both)            flavours=(mysql mariadb) ;;
    mysql | mariadb) flavours=("$flavour") ;;
    *)               die "unknown flavour '$flavour' (mysql, mariadb, both)" ;;
esac
[[ $SOAK_SECONDS =~ ^[0-9]+$ ]] || die "'$SOAK_SECONDS' is no number of seconds"

require_docker
export RWPROXY_TEST_RUN=${RWPROXY_TEST_RUN:-run$$}
trap 'tests/containers/cluster.sh down --all-of-run "$RWPROXY_TEST_RUN-" || say "cleaning up failed"' EXIT

cargo test --test containers --no-run
for flavour in "${flavours[@]}"; do
    for test in load failures differential; do
        say "$flavour: $test"
        # Beyond the load itself: starting the cluster, waiting for each failure, reading the logs.
        timeout $((SOAK_SECONDS + 1200)) \
            cargo test --test containers -- "$test::" --skip "::$([ "$flavour" = mysql ] && echo mariadb || echo mysql)" \
            --test-threads=1 --nocapture
    done
done
