# shellcheck shell=bash
# Group Replication and Galera for cluster.sh, which sources this: the options of their servers, and how those are made
# one group. The server called primary makes it, the others join.

: "${start_deadline:?}"

# member_options KIND CLUSTER SERVER REPLICAS
member_options() {
    local kind=$1 name=$2 server=$3 replicas=$4 peers=(primary) number
    for ((number = 1; number <= replicas; number++)); do peers+=("replica$number"); done
    case $kind in
        group | multi)
            local seeds single=ON checks=OFF
            seeds=$(printf '%s:33061,' "${peers[@]}")
            [ "$kind" = group ] || { single=OFF; checks=ON; }
            # Nothing starts by itself: a restarted server is out of its group until it is told to join.
            printf -- '--loose-group-replication-%s\n' "group-name=$(group_name "$name")" start-on-boot=OFF \
                bootstrap-group=OFF "local-address=$server:33061" "group-seeds=${seeds%,}" \
                "single-primary-mode=$single" "enforce-update-everywhere-checks=$checks" \
                recovery-get-public-key=ON message-cache-size=128M
            printf '%s\n' --plugin-load-add=group_replication.so
            ;;
        galera)
            printf '%s\n' --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so \
                "--wsrep-cluster-name=$name" "--wsrep-cluster-address=gcomm://$(IFS=,; echo "${peers[*]}")" \
                "--wsrep-node-name=$server" --wsrep-sst-method=rsync --innodb-autoinc-lock-mode=2 \
                '--wsrep-provider-options=gcache.size=32M;gcache.page_size=32M'
            ;;
    esac
}

# A uuid of the cluster's own.
group_name() {
    local hash
    hash=$(md5sum <<<"$1")
    echo "${hash:0:8}-${hash:8:4}-${hash:12:4}-${hash:16:4}-${hash:20:12}"
}

# until_sql CONTAINER QUERY EXPECTED WHAT: asks until the answer is the expected one.
until_sql() {
    local answer='' deadline=$((SECONDS + start_deadline))
    until answer=$(sql_in "$1" "$2" 2>&1) && [ "$answer" = "$3" ]; do
        [ "$SECONDS" -lt "$deadline" ] || die "$1: $4: not within the deadline; the last answer was: $answer"
        sleep 0.2
    done
}

# accounts NAME: those of every cluster, on its first server.
accounts() { replicate "$1" || die "cluster $1: the accounts were not made"; }

form_group() {
    local name=$1 server first pid pids=()
    shift
    first=$(container "$name" primary)
    for server in "$@"; do
        until_sql "$(container "$name" "$server")" 'SELECT 1' 1 'it answers'
        # What was written while it was made is no part of the group's history.
        sql_in "$(container "$name" "$server")" "RESET BINARY LOGS AND GTIDS;
            CHANGE REPLICATION SOURCE TO SOURCE_USER = 'replication', SOURCE_PASSWORD = 'replication'
                FOR CHANNEL 'group_replication_recovery';"
    done
    sql_in "$first" 'SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION;
        SET GLOBAL group_replication_bootstrap_group = OFF;'
    until_sql "$first" 'SELECT @@GLOBAL.super_read_only' 0 'it is writable'
    accounts "$name"
    sql_in "$first" "GRANT SELECT ON performance_schema.replication_group_members TO 'rwproxy'@'%';
        GRANT SELECT ON performance_schema.replication_group_member_stats TO 'rwproxy'@'%';
        GRANT SELECT ON performance_schema.replication_connection_status TO 'rwproxy'@'%';"
    for server in "${@:2}"; do
        sql_in "$(container "$name" "$server")" 'START GROUP_REPLICATION' & pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || die "cluster $name: a member did not join"; done
    for server in "$@"; do
        until_sql "$(container "$name" "$server")" "SELECT COUNT(*) FROM performance_schema.replication_group_members
            WHERE MEMBER_STATE = 'ONLINE'" $# 'every member is online'
    done
}

form_galera() {
    local name=$1 server
    shift
    start_servers "$name" primary
    until_sql "$(container "$name" primary)" "SHOW GLOBAL STATUS LIKE 'wsrep_ready'" $'wsrep_ready\tON' 'it is ready'
    accounts "$name"
    # One donates at a time.
    for server in "${@:2}"; do
        start_servers "$name" "$server"
        until_sql "$(container "$name" "$server")" "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'" \
            $'wsrep_local_state_comment\tSynced' 'it is synced'
    done
}
