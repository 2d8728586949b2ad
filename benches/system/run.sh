#!/usr/bin/env bash
# The whole system beside a direct connection and haproxy in TCP mode, on one cluster in one run.
#
#   benches/system/run.sh
#       FLAVOUR=mysql          mysql | mariadb | mariadb-11.8
#       QUICK=                 1: two rounds of three seconds instead of five of eight
#       CASES=                 names of bench.py's cases, separated by blanks; all if empty
#       TARGETS="direct haproxy router rwproxy"
#
# Prints a table and keeps every round's figures in benches/results. Needs what `tests/containers/prepare.sh bench test`
# installs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=../../tests/containers/lib.sh
. "$root/tests/containers/lib.sh"

flavour=${FLAVOUR:-mysql}
targets=${TARGETS:-direct haproxy router rwproxy}
target_directory=${CARGO_TARGET_DIR:-$root/target}
python=${RWPROXY_TEST_PYTHON:-$target_directory/venv/bin/python}
cluster=$root/tests/containers/cluster.sh
name=${RWPROXY_TEST_RUN:-run$$}-bench
rows=10000

certificates=$(mktemp -d -t rwproxy-certificates.XXXXXX)

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    rm -rf "$certificates"
    "$cluster" down "$name" || say "cleaning up failed"
    exit "$status"
}

# Each server must hold the rows before reads are spread over them.
await_rows() {
    local deadline=$((SECONDS + 30))
    until [ "$("$cluster" sql "$name" all 'SELECT COUNT(*) FROM app.sbtest1' 2>/dev/null | sort -u)" = "$rows" ]; do
        [ "$SECONDS" -lt "$deadline" ] || die "the replicas do not have the rows after 30 s"
        sleep 0.2
    done
}

# Those that a MySQL server makes for itself, a client's among them. False if it has made none.
copy_certificates() {
    local file
    for file in server-cert.pem server-key.pem client-cert.pem client-key.pem ca.pem; do
        docker exec "rwproxy-$name-primary" cat "/var/lib/mysql/$file" 2>/dev/null >"$certificates/$file" || return 1
    done
    # As sysbench calls it.
    mv "$certificates/ca.pem" "$certificates/cacert.pem"
}

main() {
    local primary encryption=()
    need sysbench "tests/containers/prepare.sh bench"
    need haproxy "tests/containers/prepare.sh bench"
    need mariadb "tests/containers/prepare.sh test"
    [ -x "$python" ] || die "$python is missing (tests/containers/prepare.sh test)"
    require_docker
    case " $targets " in
        *' rwproxy '*) (cd "$root" && cargo build --release --bin rwproxy) ;;
    esac
    case " ${CASES:-busy} " in
        *' busy '*) (cd "$root" && cargo build --release --example clients) ;;
    esac

    case " $targets " in
        *' router '*) "$root/tests/containers/build-images.sh" router ;;
    esac

    say "a cluster of three $flavour servers"
    # haproxy needs a connection to the server for each of the idle clients.
    primary=$("$cluster" up "$name" FLAVOUR="$flavour" -- --max-connections=6000 |
        sed -n 's/^server=primary .* ip=\([0-9.]*\) .*/\1/p')
    sysbench --db-driver=mysql --mysql-host="$primary" --mysql-user=app --mysql-password=app --mysql-db=app \
        --tables=1 --table-size="$rows" oltp_point_select prepare >/dev/null
    await_rows
    ! copy_certificates || encryption=(--certificates "$certificates")

    ulimit -n "$(ulimit -H -n)"
    export PYTHONDONTWRITEBYTECODE=1
    # shellcheck disable=SC2086  # a list of names
    "$python" "$here/bench.py" --primary "$primary" --cluster "$name" --flavour "$flavour" --targets $targets \
        ${encryption[@]+"${encryption[@]}"} \
        --binary "$target_directory/release/rwproxy" --clients "$target_directory/release/examples/clients" \
        --results "$root/benches/results" \
        ${QUICK:+--rounds 2 --seconds 3} ${CASES:+--cases $CASES}
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
main
