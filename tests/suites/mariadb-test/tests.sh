#!/bin/bash
# Runs tests of MariaDB's main suite inside the server's container, each on a server reset to what it was:
#
#   suite-tests list               those that need no server options of their own and no restart
#   suite-tests prepare            accounts as the suite expects them
#   suite-tests run TARGET OPTION… the tests named on stdin, against TARGET (HOST:PORT), with more options of mariadb-test;
#                                  prints 'outcome test'
#
# Tests connect to "localhost", to 127.0.0.1 and to the port that they are told, so the target is brought there.
set -euo pipefail

suite=/usr/share/mysql/mysql-test
logs=/var/log/suite
local_port=13306
variables=$logs/variables
system_tables=$logs/system-tables
deadline=180

sql() { mariadb -uroot --batch --skip-column-names "$@"; }

list() {
    local test name
    cd "$suite/main"
    for test in *.test; do
        name=${test%.test}
        [ -e "$name.result" ] || continue
        [ -z "$(compgen -G "$name.opt")$(compgen -G "$name-master.*")$(compgen -G "$name.cnf")" ] || continue
        [ -z "$(compgen -G "$name.combinations")$(compgen -G "$name,*.rdiff")" ] || continue
        ! grep -q "^$name *:" disabled.def || continue
        # It leaves a file beside the databases, which the next one finds.
        [[ $name != mysql_upgrade* ]] || continue
        # Restarts, and what needs another server or a build of its own.
        ! grep -qiE 'restart|shutdown|kill_mysqld|have_debug|have_embedded|master-slave|big_test|MYSQLD_CMD' "$test" ||
            continue
        echo "$name"
    done
}

prepare() {
    # MariaDB's suite logs in as root@localhost without a password.
    MYSQL_PWD=root sql <<'SQL'
SET sql_log_bin = 0;
ALTER USER root@localhost IDENTIFIED BY '';
DROP USER root@'%';
DROP USER IF EXISTS app@'%', replication@'%';
DROP DATABASE IF EXISTS app;
FLUSH HOSTS;
CREATE DATABASE mtr;
DELIMITER //
CREATE PROCEDURE mtr.add_suppression(pattern VARCHAR(255)) BEGIN END//
DELIMITER ;
SQL
    sql -e 'SHOW GLOBAL VARIABLES' >"$variables"
    mariadb-dump -uroot --skip-lock-tables --ignore-table=mysql.general_log --ignore-table=mysql.slow_log \
        --ignore-table=mysql.gtid_slave_pos --ignore-table=mysql.innodb_index_stats \
        --ignore-table=mysql.innodb_table_stats --ignore-table=mysql.transaction_registry mysql >"$system_tables"
}

reset_statements() {
    sql <<'SQL'
SELECT CONCAT('DROP DATABASE `', REPLACE(schema_name, '`', '``'), '`;') FROM information_schema.schemata
 WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr');
SELECT IF(JSON_VALUE(priv, '$.is_role') = 1, CONCAT('DROP ROLE ', QUOTE(user), ';'),
          CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';'))
  FROM mysql.global_priv WHERE (user, host) NOT IN (('root', 'localhost'), ('mariadb.sys', 'localhost'), ('rwproxy', '%'));
SELECT CONCAT('DROP ', type, ' ', '`', db, '`.`', name, '`;') FROM mysql.proc WHERE db = 'mysql'
   AND name NOT IN ('AddGeometryColumn', 'DropGeometryColumn');
SQL
    # A number as it is, anything else as a string.
    sql -e 'SHOW GLOBAL VARIABLES' | diff "$variables" - | sed -nE \
        -e 's/^< ([a-z_0-9]+)\t(-?[0-9]+(\.[0-9]+)?)$/SET GLOBAL \1 = \2;/p;t' \
        -e "s/'/''/g; s/^< ([a-z_0-9]+)\t(.*)\$/SET GLOBAL \1 = '\2';/p" || true
    echo 'CREATE DATABASE test CHARACTER SET latin1; FLUSH TABLES; FLUSH STATUS;'
}

reset() { reset_statements | sql --force >"$logs/reset" 2>&1 || true; }

environment() {
    local port=$1 program client="--no-defaults --host=127.0.0.1 --port=$1 --protocol=tcp --user=root"
    export LC_ALL=C UMASK=0660 UMASK_DIR=0770 MYSQL_TEST_DIR=$suite MYSQLTEST_VARDIR=/var MYSQLTEST_REAL_VARDIR=/var
    export MYSQL_TMP_DIR=/var/tmp MASTER_MYPORT=$port DEFAULT_MASTER_PORT=$port MASTER_MYSOCK=/run/mysqld/mysqld.sock
    export MYSQL_BINDIR=/usr MYSQL_SHAREDIR=/usr/share/mysql MYSQL_CHARSETSDIR=/usr/share/mysql/charsets
    export SECURE_LOAD_PATH=$suite/std_data USE_RUNNING_SERVER=1 MTR_SUITE_DIR=$suite/main MYSQL_TEST_ROOT=1
    export EXE_MYSQL=/usr/bin/mariadb MY_PERROR=/usr/bin/perror REPLACE=/usr/bin/replace
    export "MYSQL=mariadb $client --default-character-set=latin1" "MYSQL_CLIENT_TEST=mariadb-client-test $client"
    for program in check dump slap import show admin upgrade binlog; do
        export "MYSQL_${program^^}=mariadb-$program $client"
    done
    export "MYSQLADMIN=mariadb-admin $client" "MYSQL_BINLOG=mariadb-binlog --no-defaults"
    export "MYSQL_TEST=mariadb-test --no-defaults --silent --tmpdir=/var/tmp --host=127.0.0.1 --port=$port --user=root"
}

run() {
    local target=$1 name status port=3306
    shift
    if [ "$target" != 127.0.0.1:3306 ]; then
        port=$local_port
        socat "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr,nodelay" "TCP:$target,nodelay" 2>/dev/null &
        # shellcheck disable=SC2064  # now, not when it is run
        trap "kill $!" EXIT
    fi
    environment "$port"
    printf '[mysqltest]\nskip-ssl\n' >"$logs/client.cnf"
    cd "$suite"
    # A client that has lost its connection may say so without end (blocks of 1024 bytes).
    ulimit -f 65536
    while read -r name; do
        reset
        status=0
        timeout --kill-after=5 "$deadline" mariadb-test "--defaults-file=$logs/client.cnf" --silent --tmpdir=/var/tmp \
            --character-sets-dir=/usr/share/mysql/charsets "--logdir=$logs" --database=test --user=root --host=127.0.0.1 \
            "--port=$port" --protocol=tcp "--suite-dir=$suite/main/" "--timer-file=$logs/timer" --tail-lines=20 \
            "--test-file=main/$name.test" "--result-file=main/$name.result" "$@" >"$logs/$name.log" 2>&1 </dev/null ||
            status=$?
        case $status in
            0)  echo "pass $name" ;;
            62) echo "skip $name" ;;
            *)
                echo "fail $name"
                # It may have stopped while the system's tables were not as they should be.
                { cat "$system_tables"; echo 'FLUSH PRIVILEGES;'; } | sql --force mysql >"$logs/restored" 2>&1 || true
                ;;
        esac
        # Without a server all that follow would fail.
        sql -e 'DO 0' >/dev/null || { echo "the server does not answer behind $name" >&2; exit 1; }
    done
}

"$@"
