#!/usr/bin/env bash
# Real clusters for tests: one primary and its replicas in containers with rwproxy's labels, each cluster on a network
# of its own, so that several can run at once.
#
#   cluster.sh up NAME [KEY=VALUE…] [--json] [-- SERVER-OPTION…]
#       FLAVOUR=mysql     mysql | mariadb | mariadb-11.8: images by build-images.sh
#       IMAGE=            another image, such as mysql:8.4, mysql:9 or mariadb:11; pulled if need be
#       KIND=replication  replication: a primary and replicas | group: Group Replication with a single primary |
#                         multi: the same with several | galera: nodes of a Galera cluster
#       REPLICAS=2        how many servers beside the first
#       ROLES=auto        auto: no rwproxy.role label | label: each server carries the role that it has
#       CLUSTER=NAME      the label rwproxy.cluster
#       DATA=volume       volume: outlives a stop | tmpfs: emptied by a stop
#       PUBLISH=no        yes: port 3306 of each server also on a free port of 127.0.0.1
#       LABELS=           more labels of every server, separated by blanks
#   cluster.sh add NAME                one more replica, with the settings of the last one
#   cluster.sh bare NAME SERVER        one more server, which does not replicate and which no proxy is told of; its line
#   cluster.sh status NAME [--json]
#   cluster.sh sql NAME SERVER|all STATEMENT     as root; SERVER is primary, replica1, …
#   cluster.sh down NAME
#   cluster.sh down --all-of-run PREFIX          every cluster whose name begins so
#
# `up` and `status` print a line a server on stdout, or one JSON object:
#   server=primary role=primary container=rwproxy-NAME-primary ip=172.20.0.2 port=3306 published=
# Everything carries the label rwproxy-test=NAME. Accounts: root/root, the monitor's rwproxy/rwproxy, app/app with all
# rights on database app. A test that judges by the general log (it is off, and goes to the table mysql.general_log):
#   cluster.sh sql NAME all 'SET GLOBAL general_log = ON'
# and looks for a marker in its own statements: a read-only server refuses to truncate the table.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
start_deadline=${START_DEADLINE:-120}
# shellcheck source=groups.sh
. "$here/groups.sh"
replication="$here/../../compose/replication.sh"

usage() { sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

container() { echo "rwproxy-$1-$2"; }
network()   { echo "rwproxy-$1"; }

check_name() {
    [[ ${1:-} =~ ^[a-z0-9][a-z0-9-]{0,40}$ ]] || die "a cluster's name is made of a-z, 0-9 and '-': '${1:-}'"
}

# -- starting ------------------------------------------------------------------------------------------------------

# Small servers (about 300 MB each), without fsync: what is written outlives a killed server, not a killed machine.
# Without native AIO: a machine's fs.aio-max-nr, 65536 by default, is used up by a dozen servers.
server_options() {
    local flavour=$1 server=$2 id=$3
    printf '%s\n' "--server-id=$id" "--report-host=$server" --log-bin=binlog --relay-log=relay --skip-name-resolve \
        --log-output=TABLE --general-log=OFF --performance-schema=ON --local-infile=ON --max-connections=500 \
        --max-allowed-packet=64M --innodb-buffer-pool-size=64M --innodb-log-buffer-size=4M --table-open-cache=400 \
        --innodb-buffer-pool-load-at-startup=OFF --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=2 \
        --sync-binlog=0 --innodb-use-native-aio=OFF
    case $flavour in
        mysql)
            printf '%s\n' --gtid-mode=ON --enforce-gtid-consistency=ON --log-replica-updates=ON --mysqlx=OFF \
                --innodb-redo-log-capacity=32M --loose-innodb-numa-interleave=OFF
            ;;
        mariadb)
            # MariaDB has no SET PERSIST: what a restart must find again is given here. The primary's semi-sync is
            # on after a restart, too, but does not wait before a replica is back.
            printf '%s\n' --gtid-strict-mode=ON --log-slave-updates=ON --binlog-format=ROW --innodb-log-file-size=32M
            [ "$kind" = replication ] || return 0
            printf '%s\n' --rpl-semi-sync-slave-enabled=ON
            if [ "$server" = primary ]; then
                printf '%s\n' --rpl-semi-sync-master-enabled=ON --rpl-semi-sync-master-wait-no-slave=OFF
            else
                printf '%s\n' --read-only=ON
            fi
            ;;
    esac
}

# start_server NAME SERVER ID: with the settings in the variables of up().
start_server() {
    local name=$1 server=$2 id=$3 role=replica options arguments=()
    [ "$server" != primary ] || role=primary
    mapfile -t options < <(server_options "$flavour" "$server" "$id"; member_options "$kind" "$name" "$server" "${replicas:-0}")
    arguments=(
        --detach --name "$(container "$name" "$server")" --hostname "$server" --network-alias "$server"
        --network "$(network "$name")"
        --label "rwproxy-test=$name" --label "rwproxy-test.kind=$kind"
        --env MYSQL_ROOT_PASSWORD=root --env MARIADB_ROOT_PASSWORD=root
        --env MYSQL_INITDB_SKIP_TZINFO=1 --env MARIADB_INITDB_SKIP_TZINFO=1
    )
    [ "$listed" = no ] || arguments+=(--label "rwproxy-test.server=$server"
        --label rwproxy.enable=true --label "rwproxy.cluster=$cluster")
    [ "$roles" = auto ] || arguments+=(--label "rwproxy.role=$role")
    for label in $labels; do arguments+=(--label "$label"); done
    case $data in
        volume) arguments+=(--volume /var/lib/mysql) ;;     # without a name: it goes with its container
        tmpfs)  arguments+=(--tmpfs /var/lib/mysql) ;;
        *)      die "DATA=$data: volume or tmpfs" ;;
    esac
    [ "$publish" != yes ] || arguments+=(--publish 127.0.0.1::3306)
    if [ "$kind" = galera ]; then
        arguments+=(--entrypoint galera.sh)
        if [ "$server" = primary ]; then arguments+=(--env GALERA=new); else arguments+=(--env GALERA=join); fi
    fi
    docker run "${arguments[@]}" "$image" "${options[@]}" ${extra[@]+"${extra[@]}"} >/dev/null
}

# start_servers NAME SERVER…: all at once.
start_servers() {
    local name=$1 server pid pids=() number=1
    shift
    for server in "$@"; do
        [ "$server" = primary ] || number=$((${server#replica} + 1))
        start_server "$name" "$server" "$number" & pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || die "cluster $name: a server's container did not start"; done
}

# replicate NAME SERVER…: runs the script that users have, in the primary's container.
replicate() {
    local name=$1
    shift
    docker exec -i --env PRIMARY=primary --env "REPLICAS=$*" --env ROOT_PASSWORD=root \
        --env REPLICATION_PASSWORD=replication --env MONITOR_PASSWORD=rwproxy \
        --env APP_DATABASE=app --env APP_USER=app --env APP_PASSWORD=app --env "DEADLINE=$start_deadline" \
        "$(container "$name" primary)" bash -s <"$replication" >/dev/null
}

# The client inside the container, over the socket.
sql_in() {
    docker exec -i "$1" sh -c 'client=$(command -v mariadb || command -v mysql)
        MYSQL_PWD=root exec "$client" -uroot -N -B' <<<"$2"
}

image_flavour() {
    case $1 in
        *mariadb*) echo mariadb ;;
        *)         echo mysql ;;
    esac
}

require_image() {
    docker image inspect "$1" >/dev/null 2>&1 && return 0
    case $1 in
        rwproxy-test/*) "$here/build-images.sh" "$2" ;;
        *)              say "pulling $1"; docker pull "$1" >&2 || die "no image $1" ;;
    esac
}

up() {
    local name=${1:-} argument json=no
    local kind=replication flavour=mysql image='' replicas=2 roles=auto cluster='' data=volume publish=no labels='' listed=yes extra=()
    check_name "$name"
    shift
    while [ $# -gt 0 ]; do
        argument=$1
        shift
        case $argument in
            KIND=*)     kind=${argument#*=} ;;
            FLAVOUR=*)  flavour=${argument#*=} ;;
            IMAGE=*)    image=${argument#*=} ;;
            REPLICAS=*) replicas=${argument#*=} ;;
            ROLES=*)    roles=${argument#*=} ;;
            CLUSTER=*)  cluster=${argument#*=} ;;
            DATA=*)     data=${argument#*=} ;;
            PUBLISH=*)  publish=${argument#*=} ;;
            LABELS=*)   labels=${argument#*=} ;;
            --json)     json=yes ;;
            --)         extra=("$@"); break ;;
            *)          die "up: unknown argument '$argument'" ;;
        esac
    done
    require_docker
    image=${image:-$(default_image "$flavour")}
    require_image "$image" "$flavour"
    flavour=$(image_flavour "$image")
    case $kind:$flavour in
        replication:* | group:mysql | multi:mysql | galera:mariadb) ;;
        *) die "KIND=$kind FLAVOUR=$flavour: there is no such cluster" ;;
    esac
    cluster=${cluster:-$name}
    [ -z "$(docker ps -aq --filter "label=rwproxy-test=$name")" ] || die "cluster $name is there already"

    # What a failed or interrupted start leaves behind would make the next one fail.
    starting=$name
    trap 'give_up $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    docker network create --label "rwproxy-test=$name" "$(network "$name")" >/dev/null
    local servers=(primary) number
    for ((number = 1; number <= replicas; number++)); do servers+=("replica$number"); done
    case $kind in
        replication)
            start_servers "$name" "${servers[@]}"
            replicate "$name" "${servers[@]:1}" || die "cluster $name: replication was not set up"
            ;;
        group | multi)
            start_servers "$name" "${servers[@]}"
            form_group "$name" "${servers[@]}"
            ;;
        galera) form_galera "$name" "${servers[@]}" ;;
    esac
    trap - EXIT INT TERM
    show "$name" "$json"
}

# give_up STATUS: says what the servers of the cluster being started said last, and removes them.
give_up() {
    local status=$1 id
    trap - EXIT
    for id in $(docker ps -aq --filter "label=rwproxy-test=$starting"); do
        echo "--- $(docker inspect --format '{{.Name}} ({{.State.Status}}, exit code {{.State.ExitCode}})' "$id")" >&2
        docker logs --tail 15 "$id" >&2 || true
    done
    down "$starting"
    exit "$status"
}

# -- the rest --------------------------------------------------------------------------------------------------------

server_ids() { docker ps -aq --no-trunc --filter "label=rwproxy-test=$1" --filter 'label=rwproxy-test.server'; }

# One line a server, primary first. The address is empty while a container is not running.
show() {
    local name=$1 json=$2 ids lines
    ids=$(server_ids "$name")
    [ -n "$ids" ] || die "no cluster $name"
    # shellcheck disable=SC2086  # a list of ids
    lines=$(docker inspect --format \
'server={{index .Config.Labels "rwproxy-test.server"}} role={{if eq .Config.Hostname "primary"}}primary{{else}}replica{{end
}} container={{slice .Name 1}} ip={{with index .NetworkSettings.Networks "'"$(network "$name")"'"}}{{.IPAddress}}{{end
}} port=3306 published={{with index .NetworkSettings.Ports "3306/tcp"}}{{(index . 0).HostPort}}{{end
}} id={{.Id}} state={{.State.Status}} image={{.Config.Image}}' $ids | sort)
    if [ "$json" = yes ]; then
        printf '{"name":"%s","network":"%s","servers":[' "$name" "$(network "$name")"
        sed -E 's/([a-z]+)=([^ ]*)/"\1":"\2"/g; s/ /,/g; s/"port":"([0-9]+)"/"port":\1/; s/.*/{&}/; $!s/$/,/' <<<"$lines" | tr -d '\n'
        printf ']}\n'
    else
        echo "$lines"
    fi
}

# read_settings NAME: the settings of a cluster, off its primary's container, into its caller's variables.
read_settings() {
    local first
    first=$(container "$1" primary)
    image=$(docker inspect --format '{{.Config.Image}}' "$first")
    kind=$(docker inspect --format '{{index .Config.Labels "rwproxy-test.kind"}}' "$first")
    cluster=$(docker inspect --format '{{index .Config.Labels "rwproxy.cluster"}}' "$first")
    [ -z "$(docker inspect --format '{{index .Config.Labels "rwproxy.role"}}' "$first")" ] || roles=label
    [ "$(docker inspect --format '{{len .HostConfig.Tmpfs}}' "$first")" = 0 ] || data=tmpfs
    [ "$(docker inspect --format '{{len .HostConfig.PortBindings}}' "$first")" = 0 ] || publish=yes
    flavour=$(image_flavour "$image")
}

add() {
    local name=${1:-} ids number=1
    check_name "$name"
    require_docker
    local kind image cluster roles=auto data=volume publish=no labels='' listed=yes flavour extra=()
    read_settings "$name"
    [ "$kind" = replication ] || die "cluster $name: add is for KIND=replication"
    ids=$(docker ps -a --filter "label=rwproxy-test=$name" --format '{{.Names}}')
    while grep -qx "$(container "$name" "replica$number")" <<<"$ids"; do number=$((number + 1)); done
    start_server "$name" "replica$number" $((number + 1))
    replicate "$name" "replica$number" || die "cluster $name: replica$number does not replicate"
    show "$name" no | grep "^server=replica$number "
}

bare() {
    local name=${1:-} server=${2:-}
    check_name "$name"
    check_name "$server"
    require_docker
    local kind image cluster roles=auto data=volume publish=no labels='' listed=no flavour extra=()
    read_settings "$name"
    roles=auto
    kind=replication
    start_server "$name" "$server" 100
    docker inspect --format "server=$server container={{slice .Name 1}} ip={{with index .NetworkSettings.Networks \"$(network "$name")\"}}{{.IPAddress}}{{end}} port=3306" \
        "$(container "$name" "$server")"
}

run_sql() {
    local name=${1:-} server=${2:-} statement=${3:-} each
    check_name "$name"
    [ -n "$statement" ] || die "sql NAME SERVER|all STATEMENT"
    if [ "$server" = all ]; then
        # Sorted, the primary comes first.
        for each in $(docker ps --filter "label=rwproxy-test=$name" --filter 'label=rwproxy-test.server' \
                      --format '{{.Names}}' | sort); do
            sql_in "$each" "$statement"
        done
    else
        sql_in "$(container "$name" "$server")" "$statement"
    fi
}

# down NAME: containers with their volumes, then the network. Nothing there is no error.
down() {
    remove_containers "$1"
    remove_networks "$1"
}

remove_containers() {
    local ids
    ids=$(docker ps -aq --filter "label=rwproxy-test=$1")
    # shellcheck disable=SC2086  # a list of ids
    [ -z "$ids" ] || docker rm --force --volumes $ids >/dev/null
}

remove_networks() {
    local networks
    networks=$(docker network ls -q --filter "label=rwproxy-test=$1")
    # shellcheck disable=SC2086
    [ -z "$networks" ] || docker network rm $networks >/dev/null
}

# names_of_run PREFIX: of all clusters that have a container or a network.
names_of_run() {
    {
        docker ps -a --filter label=rwproxy-test --format '{{.Label "rwproxy-test"}}'
        docker network ls --filter label=rwproxy-test --format '{{.Label "rwproxy-test"}}'
    } | sort -u | { grep "^$1" || true; }
}

down_command() {
    local name names
    if [ "${1:-}" = --all-of-run ]; then
        check_name "${2:-}"
        names=$(names_of_run "$2")
        # A network can have containers of several names.
        for name in $names; do remove_containers "$name"; done
        for name in $names; do remove_networks "$name"; done
    else
        check_name "${1:-}"
        down "$1"
    fi
}

status() {
    local json=no
    [ "${2:-}" != --json ] || json=yes
    check_name "${1:-}"
    show "$1" "$json"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
    up)             up "$@" ;;
    add)            add "$@" ;;
    bare)           bare "$@" ;;
    status)         status "$@" ;;
    sql)            run_sql "$@" ;;
    down)           down_command "$@" ;;
    help | --help)  usage ;;
    *)              usage >&2; exit 2 ;;
esac
