# shellcheck shell=bash
# Shared by the scripts that start real servers: messages with elapsed time, deadlines, the Docker daemon.
# Sourced, never run; the sourcing script has set `set -euo pipefail`.

SECONDS_AT_START=$SECONDS

say()  { printf '[%4ds] %s\n' "$((SECONDS - SECONDS_AT_START))" "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing${2:+ ($2)}"; }

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else die "'$1' needs root, and there is no sudo"
    fi
}

# run_logged LOG WHAT COMMAND…: runs a long command with its output in LOG. Every ten seconds its latest line is
# shown, so that a slow download does not look like a hang; on failure the end of the log is.
run_logged() {
    local log=$1 what=$2 pid status=0 next=$((SECONDS + 10))
    shift 2
    say "$what"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if [ "$SECONDS" -ge "$next" ]; then
            next=$((SECONDS + 10))
            say "  … $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-100)"
        fi
    done
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log" >&2
        die "$what: failed with status $status (whole log: $log)"
    fi
}

# apt_install PACKAGE…: installs those that are missing, and nothing where none is.
apt_install() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    need apt-get "install by hand: ${missing[*]}"
    local log
    log=$(mktemp -t rwproxy-apt.XXXXXX)
    run_logged "$log" "apt-get update" as_root apt-get -q update
    run_logged "$log" "apt-get install ${missing[*]}" \
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
    rm -f "$log"
}

# Succeeds when the Docker daemon answers. As root, with the daemon installed but not running, it is started: a
# fresh machine without an init system has nobody else to do it. It is left running: containers outlive the script.
require_docker() {
    need docker "on Debian: apt-get install docker.io"
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1 && return 0
    if [ -n "${DOCKER_HOST:-}" ] || [ "$(id -u)" -ne 0 ] || ! command -v dockerd >/dev/null 2>&1; then
        docker version >/dev/null || true       # its own words: no socket, no permission, no such host
        die "the Docker daemon cannot be reached; start it, or join the group 'docker'"
    fi
    local log=/var/log/rwproxy-dockerd.log deadline=$((SECONDS + 60))
    say "no Docker daemon is running: starting dockerd (log: $log)"
    nohup dockerd >"$log" 2>&1 </dev/null &
    until docker version >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { tail -n 20 "$log" >&2; die "dockerd did not answer within 60 s"; }
        sleep 0.5
    done
}

# default_image FLAVOUR: the image that build-images.sh makes for it.
default_image() {
    case $1 in
        mysql)         echo rwproxy-test/mysql:9.7 ;;
        mariadb)       echo rwproxy-test/mariadb:10.11 ;;
        mariadb-11.8)  echo rwproxy-test/mariadb:11.8 ;;
        *)             die "unknown flavour '$1' (mysql, mariadb, mariadb-11.8)" ;;
    esac
}

# base_image_name SUITE: Debian's minimal system, as build-images.sh makes it.
base_image_name() { echo "rwproxy-test/debian:$1"; }
