#!/usr/bin/env bash
# Installs what is missing of the given groups of packages.txt, and for `test` Python's drivers into target/venv.
#
#   tests/containers/prepare.sh GROUP…
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

packages_of() { awk -v groups=" $* " '!/^#/ && NF == 2 && index(groups, " " $1 " ") { print $2 }' "$here/packages.txt" | sort -u; }

# Made once for each list of drivers. Their versions are the newest ones: what users have.
drivers() {
    local venv=$1 print
    print=$(sha256sum <"$here/drivers.txt")
    [ "$(cat "$venv/.drivers" 2>/dev/null)" = "$print" ] && return 0
    mkdir -p "$(dirname "$venv")"
    run_logged "$venv.log" "Python's drivers into $venv" install_drivers "$venv"
    echo "$print" >"$venv/.drivers"
}

# Debian's own Python: another one on the path may lack the headers that mysqlclient is compiled with.
install_drivers() {
    /usr/bin/python3 -m venv --clear "$1"
    "$1/bin/pip" install --disable-pip-version-check --requirement "$here/drivers.txt"
}

main() {
    local group packages
    [ $# -gt 0 ] || die "which groups of packages.txt?"
    mapfile -t packages < <(packages_of "$@")
    # Docker from elsewhere than Debian is as good.
    if command -v docker >/dev/null 2>&1; then
        for group in "${!packages[@]}"; do
            [ "${packages[group]}" != docker.io ] || unset "packages[group]"
        done
    fi
    apt_install "${packages[@]}"
    case " $* " in
        *' test '*) drivers "${CARGO_TARGET_DIR:-$here/../../target}/venv" ;;
    esac
}

main "$@"
