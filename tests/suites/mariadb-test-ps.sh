# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh uses and sets them
# The same with every statement prepared, where it can be. Sourced by run.sh.

# shellcheck source=mariadb-test.sh
. "$here/mariadb-test.sh"
protocol=(--ps-protocol)
