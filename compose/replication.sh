#!/bin/bash
# Makes freshly started servers one replicating cluster: accounts, GTID replication, read-only replicas, and, last,
# semi-synchronous replication. Runs inside a container of a database image (its client program is used), as the
# one-shot service of compose.yaml does. It may be run again: servers that replicate already are left as they are,
# and a server that holds data of its own is refused.
#
#   PRIMARY=host  REPLICAS="host …"  ROOT_PASSWORD=…  REPLICATION_PASSWORD=…  MONITOR_PASSWORD=…
#   APP_DATABASE=… APP_USER=… APP_PASSWORD=…     an application's database and account (optional)
#   DEADLINE=120                                 seconds for the whole
set -euo pipefail

: "${PRIMARY:?}" "${REPLICAS=}" "${ROOT_PASSWORD:?}" "${REPLICATION_PASSWORD:?}" "${MONITOR_PASSWORD:?}"
deadline=$((SECONDS + ${DEADLINE:-120}))
client=$(command -v mariadb || command -v mysql)

# Not on the command line, where any process could read it.
credentials=$(mktemp)
trap 'rm -f "$credentials"' EXIT
printf '[client]\nuser=root\npassword="%s"\n' "${ROOT_PASSWORD//\\/\\\\}" >"$credentials"

fail()    { echo "replication: $*" >&2; exit 1; }
# literal TEXT: TEXT as an SQL string.
literal() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\'\'}"; }
sql()     { "$client" --defaults-extra-file="$credentials" --connect-timeout=5 -h "$1" -N -B -e "$2"; }

# until_sql HOST QUERY EXPECTED WHAT: asks until the answer is the expected one.
until_sql() {
    local answer=
    until answer=$(sql "$1" "$2" 2>&1) && [ "$answer" = "$3" ]; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$1: $4: not within the deadline; the last answer was: $answer"
        sleep 0.2
    done
}

# -- what differs between the flavours ---------------------------------------------------------------------------

mysql_accounts() {
    # Reading the account tables is how the proxy notices changed passwords, grants and roles; only the tables
    # needed, as others (slave_master_info) hold passwords. CONNECTION_ADMIN lets the monitor in when the server has
    # as many connections as it allows.
    cat <<SQL
CREATE USER IF NOT EXISTS 'rwproxy'@'%' IDENTIFIED BY $(literal "$MONITOR_PASSWORD");
GRANT REPLICATION CLIENT, CONNECTION_ADMIN ON *.* TO 'rwproxy'@'%';
$(grant_select user db tables_priv columns_priv procs_priv proxies_priv global_grants role_edges default_roles)
SQL
}

mariadb_accounts() {
    cat <<SQL
CREATE USER IF NOT EXISTS 'rwproxy'@'%' IDENTIFIED BY $(literal "$MONITOR_PASSWORD");
GRANT BINLOG MONITOR, SLAVE MONITOR, CONNECTION ADMIN ON *.* TO 'rwproxy'@'%';
$(grant_select global_priv db tables_priv columns_priv procs_priv proxies_priv roles_mapping)
SQL
}

grant_select() { printf "GRANT SELECT ON mysql.%s TO 'rwproxy'@'%%';\n" "$@"; }

mysql_configured()   { sql "$1" "SELECT COUNT(*) FROM performance_schema.replication_connection_configuration
                                 WHERE CHANNEL_NAME = ''"; }
mariadb_configured() { sql "$1" 'SHOW SLAVE STATUS' | wc -l; }

# What the server wrote to its binary log while it was set up is no part of the cluster's history: without the reset
# the replica would have transactions that its primary does not know.
mysql_replicate() {
    # Over a connection without TLS the primary's public key is asked for, to send the password encrypted.
    sql "$1" "
        SET SESSION sql_log_bin = 0;
        $(mysql_plugin "$1" rpl_semi_sync_replica semisync_replica.so)
        SET PERSIST rpl_semi_sync_replica_enabled = ON;
        RESET BINARY LOGS AND GTIDS;
        CHANGE REPLICATION SOURCE TO SOURCE_HOST = '$PRIMARY', SOURCE_USER = 'replication',
            SOURCE_PASSWORD = $(literal "$REPLICATION_PASSWORD"), SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1,
            SOURCE_CONNECT_RETRY = 1;
        START REPLICA;
        SET PERSIST super_read_only = ON;"
}

mariadb_replicate() {
    sql "$1" "
        SET SESSION sql_log_bin = 0;
        RESET MASTER;
        SET GLOBAL gtid_slave_pos = '';
        SET GLOBAL rpl_semi_sync_slave_enabled = ON;
        CHANGE MASTER TO MASTER_HOST = '$PRIMARY', MASTER_USER = 'replication',
            MASTER_PASSWORD = $(literal "$REPLICATION_PASSWORD"), MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1;
        START SLAVE;
        SET GLOBAL read_only = ON;"
}

mysql_plugin() {
    [ "$(sql "$1" "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = '$2'")" != 0 ] ||
        echo "INSTALL PLUGIN $2 SONAME '$3';"
}

mysql_caught_up() {
    local position
    position=$(sql "$PRIMARY" 'SELECT @@GLOBAL.gtid_executed')
    until_sql "$1" "SELECT WAIT_FOR_EXECUTED_GTID_SET('${position//$'\n'/}', 1)" 0 'applies what the primary has'
}

mariadb_caught_up() {
    local position
    position=$(sql "$PRIMARY" 'SELECT @@GLOBAL.gtid_binlog_pos')
    until_sql "$1" "SELECT MASTER_GTID_WAIT('$position', 1)" 0 'applies what the primary has'
}

mysql_error()   { sql "$1" "SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_connection_status
                            UNION SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker"; }
mariadb_error() { "$client" --defaults-extra-file="$credentials" -h "$1" -E -e 'SHOW SLAVE STATUS' | grep Error:; }


# The primary's side is there, but off, when the replicas connect: they only ask for it then. It is switched on when
# they are connected, since the first commit without any of them would wait for the whole timeout.
mysql_prepare()   { sql "$PRIMARY" "SET SESSION sql_log_bin = 0; $(mysql_plugin "$PRIMARY" rpl_semi_sync_source semisync_source.so)"; }
mariadb_prepare() { :; }
mysql_semi_sync()   { sql "$PRIMARY" 'SET PERSIST rpl_semi_sync_source_enabled = ON'; }
mariadb_semi_sync() { sql "$PRIMARY" 'SET GLOBAL rpl_semi_sync_master_enabled = ON'; }
mysql_semi_sync_status()   { sql "$PRIMARY" "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_$1'"; }
mariadb_semi_sync_status() { sql "$PRIMARY" "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_$1'"; }

# -- the same for both -------------------------------------------------------------------------------------------

common_accounts() {
    cat <<SQL
CREATE USER IF NOT EXISTS 'replication'@'%' IDENTIFIED BY $(literal "$REPLICATION_PASSWORD");
GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';
SQL
    [ -z "${APP_DATABASE:-}" ] || cat <<SQL
CREATE DATABASE IF NOT EXISTS \`$APP_DATABASE\`;
CREATE USER IF NOT EXISTS '${APP_USER:?}'@'%' IDENTIFIED BY $(literal "${APP_PASSWORD:?}");
GRANT ALL ON \`$APP_DATABASE\`.* TO '$APP_USER'@'%';
SQL
}

# until_semi_sync NAME VALUE WHAT: waits for the primary's status variable; a number may be exceeded, since the
# primary counts replicas that were there before, too.
until_semi_sync() {
    local value
    until value=$("${flavour}_semi_sync_status" "$1" | cut -f 2) &&
        if [ "$2" = ON ]; then [ "$value" = ON ]; else [ "${value:-0}" -ge "$2" ]; fi
    do
        [ "$SECONDS" -lt "$deadline" ] || fail "$3: $1 is '$value', not $2"
        sleep 0.2
    done
}

refuse_data() {
    local schemas
    schemas=$(sql "$1" "SELECT GROUP_CONCAT(schema_name) FROM information_schema.schemata WHERE schema_name NOT IN
                        ('mysql', 'sys', 'information_schema', 'performance_schema')")
    [ "$schemas" = NULL ] || fail "$1 holds data of its own and is not a replica: $schemas"
}

set_up_replica() {
    if [ "$("${flavour}_configured" "$1")" = 0 ]; then
        refuse_data "$1"
        "${flavour}_replicate" "$1"
    fi
    "${flavour}_caught_up" "$1" || fail "$1: $("${flavour}_error" "$1")"
}

main() {
    local host flavour pids=() pid
    for host in $PRIMARY $REPLICAS; do until_sql "$host" 'SELECT 1' 1 'answers'; done
    case $(sql "$PRIMARY" 'SELECT VERSION()') in
        *MariaDB*) flavour=mariadb ;;
        *)         flavour=mysql ;;
    esac
    "${flavour}_prepare"
    sql "$PRIMARY" "$(common_accounts; "${flavour}_accounts")"
    for host in $REPLICAS; do set_up_replica "$host" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
    [ -n "$REPLICAS" ] || return 0
    until_semi_sync clients "$(wc -w <<<"$REPLICAS")" 'not all replicas ask for semi-synchronous replication'
    "${flavour}_semi_sync"
    until_semi_sync status ON 'replication stays asynchronous'
    echo "replication: $PRIMARY -> $REPLICAS ($flavour, semi-synchronous)"
}

main
