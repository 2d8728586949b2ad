#!/usr/bin/env bash
# Mixed load through the proxy on each flavour, judged by the servers' general logs, then failures under load, then
# random sessions beside the same ones directly, packet by packet, then reads of what was written while replicas are late,
# then setup, killed at each of its steps, with full disks, with servers that are gone in the middle, and of a gigabyte.
#
#   tests/soak/run.sh [SECONDS=600] [FLAVOUR=both]
#       FLAVOUR: mysql | mariadb | both
#
# The same tests as in `make test`, where the load lasts twenty seconds and the random sessions are short, and those of
# setup that take minutes.
# DIFFERENTIAL_OPERATIONS (100000) and DIFFERENTIAL_SEED (1) say how many random operations, and which;
# CONSISTENCY_READS (1000000) how many reads there are at consistency "session" and as many at "global".
# TESTS ("load failures differential consistency setup") says which of them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=../containers/lib.sh
. tests/containers/lib.sh

export DIFFERENTIAL_OPERATIONS=${DIFFERENTIAL_OPERATIONS:-100000}
export CONSISTENCY_READS=${CONSISTENCY_READS:-1000000}
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

# The checker looks for what is rare: it reads with a proxy, and clients, that are as fast as they get.
profile_of() { [ "$1" != consistency ] || echo --release; }

for flavour in "${flavours[@]}"; do
    for test in ${TESTS:-load failures differential consistency setup}; do
        say "$flavour: $test"
        # shellcheck disable=SC2046  # an option or none
        cargo test $(profile_of "$test") --test containers --no-run
        # Beyond the load itself: starting the cluster, waiting for each failure, reading the logs; for each thousand
        # reads ten seconds.
        limit=$((SOAK_SECONDS + 1200 + CONSISTENCY_READS / 100))
        # shellcheck disable=SC2046
        RWPROXY_TEST_LIMIT=$((limit - 60)) timeout "$limit" \
            cargo test $(profile_of "$test") --test containers -- "$test::" --skip "::$([ "$flavour" = mysql ] && echo mariadb || echo mysql)" \
            --include-ignored --test-threads=1 --nocapture
    done
done
