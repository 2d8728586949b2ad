# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh uses and sets them
# The same with every SELECT prepared and read by a cursor. Sourced by run.sh.

# shellcheck source=mariadb-test.sh
. "$here/mariadb-test.sh"
protocol=(--cursor-protocol)
