#!/usr/bin/env bash
# Other people's test suites: directly against a primary, twice, by a plain TCP relay, and through rwproxy. What passes
# the first three must pass the last, unless known.txt says why not.
#
#   tests/suites/run.sh [SUITE…]     pymysql mysqlclient sqlalchemy django mariadb-test
#                                  mariadb-test-ps mariadb-test-cursor; all without an argument
#       FLAVOUR=both      mysql | mariadb | both (mariadb-test knows mariadb alone)
#       READS=settled     settled:  a relay before rwproxy holds each command back until the replicas have applied all
#                                   that the primary has committed: reads spread, and are never stale
#                         replicas: nothing before rwproxy; a read may miss what its session has just written
#                         primary:  the replicas have rwproxy.weight=0, as users have it who cannot bear stale reads
#       SHORT=            1: a few minutes of each suite
#       REUSE=            1: direct and relayed results of an earlier run are taken where they are there
#       BINARY=           the rwproxy to test; built in release without it
#
# Results, logs and metrics stay in target/suites. Two runs at once need names of their own in RWPROXY_TEST_RUN.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
# shellcheck source=../containers/lib.sh
. tests/containers/lib.sh

target=${CARGO_TARGET_DIR:-$root/target}
directory="$target/suites"
flavour=${FLAVOUR:-both}
reads=${READS:-settled}
# shellcheck disable=SC2034  # the suites look at it
short=${SHORT:-}
reuse=${REUSE:-}
binary=${BINARY:-$target/release/rwproxy}
export RWPROXY_TEST_RUN=${RWPROXY_TEST_RUN:-run$$}

# -- what the suites' files use --------------------------------------------------------------------------------------

# source_of PROJECT VERSION: unpacks PyPI's source archive; `source` is then where it is.
source_of() {
    local archive name
    source="$directory/sources/$1-$2"
    [ ! -d "$source" ] || return 0
    mkdir -p "$directory/sources/archive"
    run_logged "$directory/sources/$1.log" "the source archive of $1 $2" \
        "$tools/bin/pip" download --disable-pip-version-check --no-deps --no-binary "$1" \
        --dest "$directory/sources/archive" "$1==$2"
    archive=$(find "$directory/sources/archive" -iname "$1-$2.tar.gz")
    name=$(tar -tzf "$archive" | sed -n '1s:/.*::p;1q' || true)
    tar -C "$directory/sources/archive" -xzf "$archive"
    mv "$directory/sources/archive/$name" "$source"
}

# venv_with REQUIREMENT…: `venv` is then a Python that has them.
venv_with() {
    venv="$directory/venv-$suite"
    make_venv "$venv" "$@"
}

make_venv() {
    local venv=$1
    shift
    [ "$(cat "$venv/.requirements" 2>/dev/null)" != "$*" ] || return 0
    run_logged "$venv.log" "Python's packages into $venv: $*" install "$venv" "$@"
    echo "$*" >"$venv/.requirements"
}

# Debian's own Python: another one on the path may lack the headers that mysqlclient is compiled with.
install() {
    local venv=$1
    shift
    /usr/bin/python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --disable-pip-version-check "$@"
}

# pytest_run ARGUMENT…: its own exit code only says that some tests failed.
pytest_run() {
    rm -f "$work/junit.xml"
    "$venv/bin/python" -m pytest "$@" --junit-xml="$work/junit.xml" || true
    "$tools/bin/python" "$here/results.py" junit "$work/junit.xml" "$results"
}

# sql SERVER STATEMENT
sql() { tests/containers/cluster.sh sql "$cluster" "$@"; }

# -- servers, relays and the proxy -----------------------------------------------------------------------------------

# start_cluster NAME: its servers' addresses are then in `addresses`, the primary's first.
start_cluster() {
    cluster=$1
    local labels=
    [ "$reads" != primary ] || labels=rwproxy.weight=0
    say "$cluster: starting a primary and $replicas replicas"
    tests/containers/cluster.sh up "$cluster" "FLAVOUR=$flavour" "IMAGE=$image" "REPLICAS=$replicas" DATA=tmpfs \
        "LABELS=$labels" -- ${server_options[@]+"${server_options[@]}"} >"$work/servers"
    mapfile -t addresses < <(sed -E 's/.* ip=([^ ]*).*/\1/' "$work/servers")
}

stop_cluster() { tests/containers/cluster.sh down "$cluster"; }

processes=()

# until_says FILE PATTERN: waits for what a started process writes.
until_says() {
    local file=$1 pattern=$2 deadline=$((SECONDS + 30))
    until grep -q "$pattern" "$file" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || { tail -n 20 "$file" >&2; die "no '$pattern' in $file after 30 s"; }
        sleep 0.1
    done
}

# start_relay HOST PORT [SERVER…]: `port` is then its port.
start_relay() {
    rm -f "$work/relay"
    "$tools/bin/python" "$here/relay.py" "$listen" "$@" >"$work/relay" 2>"$log.relay" </dev/null &
    processes+=($!)
    until_says "$work/relay" .
    port=$(cat "$work/relay")
}

# start_proxy: `port` is then its port, `http` the one of its metrics.
start_proxy() {
    local number
    cat >"$work/proxy.toml" <<TOML
[listen]
address = "$listen:0"
[docker]
cluster = "$cluster"
[admin]
address = []
[http]
address = "127.0.0.1:0"
[log]
format = "json"
$proxy_toml
TOML
    rm -f "$log.proxy"
    RWPROXY_MONITOR_PASSWORD=rwproxy "$binary" --config "$work/proxy.toml" >"$log.proxy" 2>&1 </dev/null &
    processes+=($!)
    until_says "$log.proxy" '"ready"'
    port=$(listening clients)
    http=$(listening http)
    if [ "$reads" != primary ]; then
        for ((number = 1; number <= replicas; number++)); do until_takes_reads "rwproxy-$cluster-replica$number"; done
    fi
}

# listening WHAT: the port that the proxy's log tells.
listening() { sed -nE "/\"listening\".*\"$1\"/s/.*\"address\":\"[^\"]*:([0-9]+)\".*/\1/p" "$log.proxy"; }

metrics() { "$tools/bin/python" -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' "http://127.0.0.1:$http/metrics"; }

until_takes_reads() {
    local deadline=$((SECONDS + 30))
    until metrics | grep -Fx "rwproxy_backend_takes_reads{backend=\"$1\"} 1.0" >/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || die "$1 takes no reads after 30 s; see $log.proxy"
        sleep 0.2
    done
}

stop_processes() {
    local process
    for process in ${processes[@]+"${processes[@]}"}; do
        kill -TERM "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    processes=()
}

# -- one suite -------------------------------------------------------------------------------------------------------

# Every database of an earlier run goes, and with it what the next one would trip over.
reset_databases() {
    local name statements
    for name in $(sql primary "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN
            ('mysql', 'sys', 'information_schema', 'performance_schema', 'app')"); do
        sql primary "DROP DATABASE \`$name\`"
    done
    statements=$(databases)
    [ -z "$statements" ] || sql primary "$statements"
}

# run_way WAY: one run of the suite, its results in `results`.
run_way() {
    local way=$1 host=${addresses[0]} port=3306 http='' began=$SECONDS
    results="$directory/results/$suite-$flavour-$way"
    log="$directory/logs/$suite-$flavour-$way"
    # What is run behind rwproxy's turn depends on what came of that.
    case $ways in *"$way"*rwproxy*) [ -z "$reuse" ] || [ ! -s "$results" ] || return 0 ;; esac
    rm -f "$results"
    reset_databases
    case $way in
        relay)
            start_relay "$host" 3306
            host=$listen
            ;;
        rwproxy)
            start_proxy
            host=$listen
            [ "$reads" != settled ] || [ "$replicas" = 0 ] || start_relay "$host" "$port" "${addresses[@]}"
            ;;
    esac
    (run "$host" "$port") >"$log" 2>&1 </dev/null || true
    [ "$way" != rwproxy ] || metrics >"$directory/results/$suite-$flavour-metrics"
    stop_processes
    [ -s "$results" ] || { tail -n 20 "$log" >&2; die "$suite, $flavour, $way: no results (log: $log)"; }
    say "$suite, $flavour, $way: $(wc -l <"$results") results in $((SECONDS - began)) s"
}

# run_suite SUITE: in a shell of its own, since each suite's file defines the same names.
run_suite() (
    suite=$1
    # What a suite's file may set otherwise.
    flavours='mysql mariadb' ways='direct1 direct2 relay rwproxy' image='' replicas=2 server_options=() proxy_toml='' listen=127.0.0.1
    cluster_started() { :; }
    # shellcheck source=/dev/null
    . "$here/$suite.sh"
    case " $flavours " in
        *" $flavour "*) ;;
        *) say "$suite: not for $flavour"; exit 0 ;;
    esac
    work=$(mktemp -d -t rwproxy-suite.XXXXXX)
    trap 'stop_processes; rm -rf "$work"' EXIT
    prepare
    start_cluster "$RWPROXY_TEST_RUN-suite-$suite"
    cluster_started
    for way in $ways; do run_way "$way"; done
    stop_cluster
    local report="$directory/results/$suite-$flavour-report" status=0
    "$tools/bin/python" "$here/results.py" compare "$suite" "$flavour" "$directory/results" "$here/known.txt" \
        >"$report" || status=$?
    "$tools/bin/python" "$here/results.py" destinations "$directory/results/$suite-$flavour-metrics" >>"$report"
    cat "$report"
    exit "$status"
)

# -- all of them -----------------------------------------------------------------------------------------------------

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    tests/containers/cluster.sh down --all-of-run "$RWPROXY_TEST_RUN-suite-" || say "cleaning up failed"
    exit "$status"
}

main() {
    local suite flavours failed=()
    case $flavour in
        both)            flavours=(mysql mariadb) ;;
        mysql | mariadb) flavours=("$flavour") ;;
        *)               die "unknown flavour '$flavour' (mysql, mariadb, both)" ;;
    esac
    case $reads in
        settled | replicas | primary) ;;
        *) die "READS=$reads: settled, replicas or primary" ;;
    esac
    [ $# -gt 0 ] || set -- pymysql mysqlclient sqlalchemy django mariadb-test mariadb-test-ps mariadb-test-cursor
    for suite in "$@"; do
        [ -f "$here/$suite.sh" ] || die "no suite '$suite'"
    done
    require_docker
    mkdir -p "$directory/results" "$directory/logs" "$directory/sources"
    tests/containers/prepare.sh build docker images suites
    [ -n "${BINARY:-}" ] || cargo build --release --bin rwproxy
    # Python with the driver of relay.py.
    tools="$directory/venv-tools"
    make_venv "$tools" PyMySQL cryptography
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    for flavour in "${flavours[@]}"; do
        for suite in "$@"; do
            # Not as a condition: the shell would go on behind an error.
            run_suite "$suite" &
            wait $! || failed+=("$suite-$flavour")
        done
    done
    [ "${#failed[@]}" -eq 0 ] || die "failed: ${failed[*]}"
}

main "$@"
