#!/usr/bin/env bash
# Stops what `make demo` left running, and nothing else.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../containers/lib.sh
. "$here/../containers/lib.sh"
# shellcheck source=common.sh
. "$here/common.sh"

stop_demo
say "the demo is stopped; its configuration and log are still in $state"
