# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh uses and sets them
# MariaDB's own regression suite, from Debian's package of the server's version, each test against a server of its own
# that is reset before it. What does not pass directly (it needs other settings of the server, or mysql-test-run) is not
# tried further. Sourced by run.sh.

flavours=mariadb
image=rwproxy-test/mariadb-test:10.11
# Again directly, and by a relay, run only those that differ: each test stands for itself, and they are many.
ways='direct1 rwproxy direct2 relay'
replicas=0
protocol=()
# Accounts go and come between the tests, behind the proxy's back.
proxy_toml='[auth]
refresh = "100ms"'

# As mysql-test-run has them.
server_options=(
    --skip-name-resolve=0 --skip-log-bin --character-set-server=latin1 --default-storage-engine=myisam --local-infile=ON
    --secure-file-priv=/var --connect-timeout=60 --log-bin-trust-function-creators=1 --key-buffer-size=1M
    --sort-buffer-size=256K --max-heap-table-size=1M --use-stat-tables=preferably --histogram-type=json_hb
    --plugin-maturity=unknown --max-connections=151 --max-allowed-packet=16M --table-open-cache=421
    --open-files-limit=1024 --innodb-buffer-pool-size=8M --rpl-semi-sync-slave-enabled=OFF
    --rpl-semi-sync-master-enabled=OFF --gtid-strict-mode=OFF --binlog-format=MIXED --log-slave-updates=OFF
)

prepare() {
    tests/containers/build-images.sh mariadb
    run_logged "$directory/logs/$suite-image" "the image $image" env DOCKER_BUILDKIT=0 docker build --force-rm \
        --network host --build-arg "BASE=$(default_image mariadb)" --tag "$image" "$here/mariadb-test"
}

databases() { :; }

# The server is reset by the tests' runner.
reset_databases() { :; }

in_container() { docker exec -i "rwproxy-$cluster-primary" "$@"; }

cluster_started() {
    gateway=$(docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' "rwproxy-$cluster")
    listen=$gateway
    # Who comes from there is root@localhost, too.
    in_container sh -c "echo '$gateway localhost' >>/etc/hosts"
    in_container suite-tests prepare
}

run() {
    local tests="$work/tests" target="$1:$2" step=1 before="$directory/results/$suite-$flavour"
    [ -z "$short" ] || step=12
    case $way in direct*) target=127.0.0.1:3306 ;; esac
    case $way in
        direct1) in_container suite-tests list | sed -n "1~${step}p" >"$tests" ;;
        rwproxy) sed -n 's/^pass //p' "$before-direct1" >"$tests" ;;
        *)       sed -n 's/^pass //p' "$before-direct1" | grep -vxFf <(sed -n 's/^pass //p' "$before-rwproxy") >"$tests" ||
                     true ;;
    esac
    in_container suite-tests run "$target" ${protocol[@]+"${protocol[@]}"} <"$tests" >"$results" || true
    case $way in
        direct2 | relay) awk 'FILENAME == ARGV[1] { again[$1]; next } !($2 in again)' "$tests" "$before-direct1" >>"$results" ;;
    esac
    mkdir -p "$log.d"
    in_container tar -C /var/log/suite -c . | tar -C "$log.d" -x
}
