# shellcheck shell=bash
# shellcheck disable=SC2154  # run.sh sets them
# PyMySQL's own tests, of the last release that has them in its archive. Sourced by run.sh.

version=0.10.1

prepare() {
    source_of PyMySQL "$version"
    venv_with "PyMySQL==$version" cryptography pytest
}

databases() {
    echo "CREATE DATABASE test1 CHARACTER SET utf8mb4; CREATE DATABASE test2 CHARACTER SET utf8mb4;"
}

run() {
    local host=$1 port=$2 tests="$work/tests"
    rm -rf "$tests"
    cp -r "$source/pymysql/tests" "$tests"
    # They import their neighbours as parts of the package.
    rm -rf "$venv"/lib/python3*/site-packages/pymysql/tests
    ln -s "$tests" "$(echo "$venv"/lib/python3*/site-packages/pymysql)/tests"
    cat >"$tests/databases.json" <<JSON
[{"host": "$host", "port": $port, "user": "root", "passwd": "root", "db": "test1", "use_unicode": true,
  "local_infile": true},
 {"host": "$host", "port": $port, "user": "root", "passwd": "root", "db": "test2"}]
JSON
    cd "$work" || exit
    pytest_run tests -p no:cacheprovider --rootdir=.
}
