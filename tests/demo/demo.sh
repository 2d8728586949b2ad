#!/usr/bin/env bash
# A cluster, the proxy, and a short tour with its real output: `make demo [FLAVOUR=mysql|mariadb] [IMAGE=mysql:8.4]`.
# Everything is left running; `make demo-down` stops it. Where a statement ran is judged by the servers' own general
# logs, not by what the proxy says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../containers/lib.sh
. "$here/../containers/lib.sh"
# shellcheck source=common.sh
. "$here/common.sh"

flavour=${FLAVOUR:-mysql}
image=${IMAGE:-}
binary="$target/release/rwproxy"
sql_port=3306
admin_port=6032
http_port=6080

heading() { printf '\n== %s\n' "$*"; }

# -- preparing -------------------------------------------------------------------------------------------------------

# Succeeds when somebody listens on the port of 127.0.0.1.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

check_ports() {
    local port
    for port in "$sql_port" "$admin_port" "$http_port"; do
        ! port_taken "$port" || die "127.0.0.1:$port is in use by another program; the demo needs it"
    done
}

start_cluster() {
    local arguments=("FLAVOUR=$flavour")
    [ -z "$image" ] || arguments+=("IMAGE=$image")
    say "starting a primary and two replicas in containers, with GTID and semi-synchronous replication"
    "$cluster_sh" up "$name" "${arguments[@]}" | sed 's/^/    /; s/ published=.*//'
    image=$(docker inspect --format '{{.Config.Image}}' "rwproxy-$name-primary")
    # The client program of the database image, on the host's network: nothing need be installed on the host.
    docker run --detach --name "$client" --network host --label "rwproxy-test=$name" --entrypoint sleep "$image" infinity \
        >/dev/null
}

write_config() {
    cat >"$state/proxy.toml" <<TOML
# Written by make demo.
[listen]
address = "127.0.0.1:$sql_port"

[docker]
cluster = "$name"

[admin]
address = "127.0.0.1:$admin_port"

[http]
address = "127.0.0.1:$http_port"
TOML
}

# In a session of its own: Ctrl-C in the tour must not end it.
start_proxy() {
    local pid deadline=$((SECONDS + 30))
    say "starting the proxy on 127.0.0.1:$sql_port (log: $state/proxy.log)"
    RWPROXY_MONITOR_PASSWORD=rwproxy setsid nohup "$binary" --config "$state/proxy.toml" >"$state/proxy.log" 2>&1 </dev/null &
    pid=$!
    remember_proxy "$pid"
    until http_get /readyz >/dev/null; do
        running_proxy >/dev/null || { tail -n 20 "$state/proxy.log" >&2; die "the proxy ended"; }
        [ "$SECONDS" -lt "$deadline" ] || { tail -n 20 "$state/proxy.log" >&2; die "the proxy is not ready after 30 s"; }
        sleep 0.1
    done
    wait_for_reads "rwproxy-$name-replica1" yes 15
    wait_for_reads "rwproxy-$name-replica2" yes 15
}

# http_get PATH: the body of a 200 answer of the proxy; fails otherwise. By bash itself: a poll takes some 2 ms.
http_get() {
    local line status
    exec {http}<>"/dev/tcp/127.0.0.1/$http_port" || return 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&"$http"
    read -r -t 2 _ status _ <&"$http" || status=none
    while read -r -t 2 line <&"$http" && [ "$line" != $'\r' ]; do :; done
    timeout 2 cat <&"$http" || true
    exec {http}>&-
    [ "$status" = 200 ]
} 2>/dev/null

# -- asking --------------------------------------------------------------------------------------------------------

# in_client PASSWORD ARGUMENT…: the client program, on the host's network.
in_client() {
    docker exec -i --env "MYSQL_PWD=$1" "$client" \
        sh -c 'shift; program=$(command -v mariadb || command -v mysql); exec "$program" -h127.0.0.1 "$@"' client "$@"
}

app()      { in_client app -P"$sql_port" -uapp app "$@"; }
admin()    { in_client '' -P"$admin_port" -uadmin "$@"; }
server()   { "$cluster_sh" sql "$name" "$@"; }
now_ms()   { local now=${EPOCHREALTIME/[.,]/}; echo $((now / 1000)); }

# takes_reads CONTAINER: yes or no, by the proxy's metrics.
takes_reads() {
    # All of the answer is read: a reader that stops early would make http_get fail.
    if http_get /metrics | grep -Fx "rwproxy_backend_takes_reads{backend=\"$1\"} 1.0" >/dev/null; then
        echo yes
    else
        echo no
    fi
}

# SHOW BACKENDS of the admin console, without the columns that say the same throughout the tour.
show_backends() {
    echo "    SHOW BACKENDS on the admin console says (some of its columns):"
    admin --batch -e 'SHOW BACKENDS' | awk -F '\t' '
        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; count = split("name role state takes_reads lag_ms why_not", wanted, " ") }
        { for (i = 1; i <= count; i++) {
              cell[NR, i] = $column[wanted[i]]
              if (length(cell[NR, i]) > width[i]) width[i] = length(cell[NR, i])
          } }
        END { for (row = 1; row <= NR; row++) {
                  line = "   "
                  for (i = 1; i < count; i++) line = line sprintf(" %-" width[i] "s ", cell[row, i])
                  print line " " cell[row, count]
              } }'
}

# wait_for_reads CONTAINER yes|no SECONDS
wait_for_reads() {
    local deadline=$((SECONDS + $3))
    until [ "$(takes_reads "$1")" = "$2" ]; do
        [ "$SECONDS" -lt "$deadline" ] || die "after $3 s the proxy still does not say '$2' to new reads on $1; see $state/proxy.log"
        sleep 0.01
    done
}

# Runs the statements of stdin through the proxy, each on a connection of its own: a session that reads without pause
# stays on one replica (routing.monotonic).
app_each() { local statement; while IFS= read -r statement; do app -e "$statement" </dev/null; done; }

# run_marked [app_each]: runs the statements of stdin through the proxy; then prints which server's general log has which
# of them. A marker in a literal tells them apart: comments may be left out by a client.
run_marked() {
    local marker="tour-${EPOCHREALTIME/[.,]/}-" servers each
    sed "s/MARK/$marker/g" | "${1:-app}" >/dev/null
    servers=$(docker ps --filter "label=rwproxy-test=$name" --filter label=rwproxy-test.server \
              --format '{{.Label "rwproxy-test.server"}}' | sort)
    for each in $servers; do
        server "$each" "SELECT argument FROM mysql.general_log
                        WHERE argument LIKE '%$marker%' AND argument NOT LIKE '%general_log%'" |
            sed -E "s/.*$marker([a-z0-9]+).*/\1 $each/"
    done | sort
}

# 'statement server' lines to one line a server.
by_server() {
    awk '{ statements[$2] = statements[$2] " " $1; count[$2]++ }
         END { for (s in count) printf "    %-10s %2d  %s\n", s, count[s], statements[s] }' | sort
}

inserts() { local n; for n in $(seq -w "$1"); do echo "INSERT INTO tour (note) VALUES ('MARKw$n');"; done; }
selects() { local n; for n in $(seq -w "$1"); do echo "SELECT COUNT(*) AS n, 'MARKr$n' AS statement FROM tour;"; done; }

# -- the tour --------------------------------------------------------------------------------------------------------

tour_split() {
    heading "Ten writes on one connection and twenty reads on twenty, and which container answered by its own general log"
    app -e 'CREATE TABLE tour (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(80))'
    sleep 0.5
    inserts 10 | run_marked | by_server
    selects 20 | run_marked app_each | by_server
}

tour_sql_thread() {
    local replica="rwproxy-$name-replica1" stop='STOP REPLICA SQL_THREAD' start='START REPLICA SQL_THREAD' ran
    case $image in *mariadb*) stop='STOP SLAVE SQL_THREAD' start='START SLAVE SQL_THREAD' ;; esac
    heading "The SQL thread of replica1 is stopped ($stop)"
    server replica1 "$stop"
    ran=$(now_ms)
    wait_for_reads "$replica" no 15
    echo "    it takes no more reads: seen $(($(now_ms) - ran)) ms after the statement had ended"
    show_backends
    selects 10 | run_marked app_each | by_server
    heading "It is started again ($start)"
    server replica1 "$start"
    ran=$(now_ms)
    wait_for_reads "$replica" yes 30
    echo "    it takes reads again: seen $(($(now_ms) - ran)) ms after the statement had ended"
}

# event_ms EVENT CONTAINER SECOND: when the daemon says that the first such event since that second was, in milliseconds.
event_ms() {
    local nanoseconds
    nanoseconds=$(docker events --since "$3" --until "$(($(date +%s) + 1))" --filter "container=$2" --filter "event=$1" \
                  --format '{{.TimeNano}}' | sed -n 1p)
    echo $((nanoseconds / 1000000))
}

# Reads without a transaction on one connection, for some four seconds; prints how many failed.
failed_reads() {
    local n
    for n in $(seq 200); do echo "SELECT $n, SLEEP(0.02);"; done | app --force 2>&1 >/dev/null | grep -c '^ERROR' || true
}

tour_container() {
    local replica="rwproxy-$name-replica2" since signalled ended left given failed="$state/failed-reads" reader stopper
    heading "The container of replica2 is stopped (docker stop), while a client reads on"
    failed_reads >"$failed" & reader=$!
    sleep 0.5
    since=$(date +%s)
    docker stop --time 10 "$replica" >/dev/null & stopper=$!
    wait_for_reads "$replica" no 15
    left=$(now_ms)
    wait "$stopper"
    signalled=$(event_ms kill "$replica" "$since")
    ended=$(event_ms die "$replica" "$since")
    echo "    it takes no more reads: seen $((left - signalled)) ms after Docker told the server to stop"
    echo "    (the server ended $((ended - signalled)) ms after it was told)"
    wait "$reader"
    echo "    of the 200 reads that ran meanwhile, $(cat "$failed") failed"
    show_backends
    selects 10 | run_marked app_each | by_server
    heading "It is started again (docker start)"
    given=$(now_ms)
    docker start "$replica" >/dev/null
    wait_for_reads "$replica" yes 60
    echo "    it takes reads again: seen $(($(now_ms) - given)) ms after the command was given"
    show_backends
}

how_to_go_on() {
    local program='mysql'
    case $image in *mariadb*) program='mariadb' ;; esac
    cat <<TEXT

Everything is left running.
    application      mysql -h127.0.0.1 -P$sql_port -uapp -papp app
    admin console    mysql -h127.0.0.1 -P$admin_port -uadmin             SHOW BACKENDS; SHOW SESSIONS; SHOW POOLS; HELP
                     (no client on this machine: docker exec -it $client $program -h127.0.0.1 …)
    metrics          http://127.0.0.1:$http_port/metrics            /status, /healthz, /readyz
    where it goes    $binary explain 'SELECT …'
    log              $state/proxy.log
    configuration    $state/proxy.toml
    a server         docker exec -it rwproxy-$name-primary $program -uroot -proot
    to stop          make demo-down
TEXT
}

# A demo that failed half-way is of no use: its log is kept, the rest removed.
give_up() {
    local status=$1
    trap - EXIT
    [ "$status" -ne 0 ] || exit 0
    say "the demo did not get through; removing what it started (the proxy's log stays: $state/proxy.log)"
    stop_demo || true
    exit "$status"
}

main() {
    require_docker
    mkdir -p "$state"
    stop_demo
    check_ports
    say "building the proxy (cargo build --release)"
    (cd "$root" && cargo build --release --bin rwproxy)
    trap 'give_up $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start_cluster
    write_config
    start_proxy
    server all 'SET GLOBAL general_log = ON'
    tour_split
    tour_sql_thread
    tour_container
    server all 'SET GLOBAL general_log = OFF'
    trap - EXIT
    how_to_go_on
}

main
