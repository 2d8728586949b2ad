#!/bin/bash
# The part of the official images' interface that compose.yaml and the tests use:
#   docker run IMAGE [--option …]             runs the server with these options, as process 1
#   docker run IMAGE COMMAND …                runs something else
#   MYSQL_ or MARIADB_ROOT_PASSWORD, _ROOT_HOST (default %), _ALLOW_EMPTY_(ROOT_)PASSWORD, _DATABASE, _USER, _PASSWORD
#                                             take effect when the data directory is still empty
# The official images run a second, private server for the first setup; here --init-file does the same before the
# server's first connection, which is much quicker.
set -euo pipefail

server=$(command -v mariadbd || command -v mysqld)
data=/var/lib/mysql
case ${1:-} in
    mysqld | mariadbd) shift ;;
    -* | '') ;;
    *) exec "$@" ;;
esac

# setting NAME: the value of MARIADB_NAME or MYSQL_NAME.
setting() {
    local mariadb="MARIADB_$1" mysql="MYSQL_$1"
    printf '%s' "${!mariadb:-${!mysql:-}}"
}

# literal TEXT: TEXT as an SQL string.
literal() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\'\'}"
}

# An init file holds one statement a line.
first_statements() {
    local password host database user
    password=$(literal "$(setting ROOT_PASSWORD)")
    host=$(literal "$(setting ROOT_HOST)")
    database=$(setting DATABASE)
    user=$(setting USER)
    # The server's own accounts are no part of what is replicated.
    echo "SET SESSION sql_log_bin = 0;"
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password;"
    if [ "$host" != "'localhost'" ]; then
        [ "$host" != "''" ] || host="'%'"
        echo "CREATE USER 'root'@$host IDENTIFIED BY $password;"
        echo "GRANT ALL ON *.* TO 'root'@$host WITH GRANT OPTION;"
    fi
    echo "SET SESSION sql_log_bin = 1;"
    [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
    if [ -n "$user" ]; then
        echo "CREATE USER '$user'@'%' IDENTIFIED BY $(literal "$(setting PASSWORD)");"
        [ -z "$database" ] || echo "GRANT ALL ON \`$database\`.* TO '$user'@'%';"
    fi
}

mkdir -p "$data" /run/mysqld
chown mysql:mysql "$data" /run/mysqld
chmod 755 /run/mysqld
if [ ! -d "$data/mysql" ]; then
    if [ -z "$(setting ROOT_PASSWORD)$(setting ALLOW_EMPTY_PASSWORD)$(setting ALLOW_EMPTY_ROOT_PASSWORD)" ]; then
        echo "the data directory is empty and no MYSQL_ROOT_PASSWORD (or MARIADB_ROOT_PASSWORD) is given" >&2
        exit 1
    fi
    # The directory that says "initialised" comes last, so that an interrupted copy is done again.
    find /var/lib/mysql-template -mindepth 1 -maxdepth 1 ! -name mysql -exec cp -a --sparse=always -t "$data" {} +
    first_statements >/run/first-statements.sql
    chown mysql:mysql /run/first-statements.sql
    chmod 400 /run/first-statements.sql
    cp -a --sparse=always /var/lib/mysql-template/mysql "$data/mysql"
    set -- "$@" --init-file=/run/first-statements.sql
fi
exec "$server" "$@"
