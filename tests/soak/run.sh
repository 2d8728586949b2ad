#!/usr/bin/env bash
# Mixed load through the proxy on each flavour, judged by the servers' general logs, then failures under load.
#
#   tests/soak/run.sh [SECONDS=600] [FLAVOUR=both]
#       FLAVOUR: mysql | mariadb | both
#
# The same tests as in `make test`, where the load lasts twenty seconds.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=../containers/lib.sh
. tests/containers/lib.sh

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
    for test in load failures; do
        say "$flavour: $test"
        # Beyond the load itself: starting the cluster, waiting for each failure, reading the logs.
        timeout $((SOAK_SECONDS + 600)) \
            cargo test --test containers -- "$test::" --skip "::$([ "$flavour" = mysql ] && echo mariadb || echo mysql)" \
            --test-threads=1 --nocapture
    done
done
