# shellcheck shell=bash
# shellcheck disable=SC2154  # run.sh sets them
# mysqlclient's own tests: MariaDB's client library in C, driven from Python. Sourced by run.sh.

version=2.3.2

prepare() {
    source_of mysqlclient "$version"
    venv_with "mysqlclient==$version" SQLAlchemy pytest
}

databases() { echo "CREATE DATABASE test CHARACTER SET utf8mb4;"; }

run() {
    cat >"$work/server.cnf" <<CNF
[MySQLdb-tests]
host = $1
port = $2
user = root
password = root
database = test
default-character-set = utf8mb4
CNF
    (cd "$source/tests" && TESTDB="$work/server.cnf" pytest_run . -p no:cacheprovider)
}
