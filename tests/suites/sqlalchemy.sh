# shellcheck shell=bash
# shellcheck disable=SC2154  # run.sh sets them
# SQLAlchemy's tests of its MySQL dialect and of what every dialect must do. Sourced by run.sh.

version=2.1.9

prepare() {
    source_of SQLAlchemy "$version"
    venv_with "SQLAlchemy==$version" mysqlclient greenlet pytest
}

databases() {
    echo "CREATE DATABASE test CHARACTER SET utf8mb4; CREATE DATABASE test_schema CHARACTER SET utf8mb4;"
}

run() {
    local tests=(test/dialect/mysql test/dialect/test_suite.py)
    [ -z "$short" ] || tests=(test/dialect/mysql/test_query.py test/dialect/mysql/test_on_duplicate.py)
    cd "$source" || exit
    pytest_run "${tests[@]}" -p no:cacheprovider --maxfail=100000 --dburi \
        "mysql+mysqldb://root:root@$1:$2/test?charset=utf8mb4"
}
