# shellcheck shell=bash
# What the demo's start and stop have in common: where its state is, and which process is its proxy.
# Sourced after ../containers/lib.sh.

# shellcheck disable=SC2034  # used by the scripts that source this file
{
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    cluster_sh="$root/tests/containers/cluster.sh"
    target=${CARGO_TARGET_DIR:-$root/target}
    state="$target/demo"
    name=demo
    client="rwproxy-$name-client"
}

# A process id alone may by now belong to another program: the time of its start is kept with it.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

remember_proxy() { echo "$1 $(start_time "$1")" >"$state/proxy.pid"; }

# Prints the process id if the demo's proxy is running.
running_proxy() {
    local pid started
    read -r pid started 2>/dev/null <"$state/proxy.pid" || return 1
    [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
    echo "$pid"
}

# Ends what an earlier demo started: the proxy by its id, containers and network by their label.
stop_demo() {
    local pid deadline=$((SECONDS + 12))
    if pid=$(running_proxy); then
        say "stopping the proxy (process $pid)"
        kill -TERM "$pid"
        # The proxy drains for up to 8 s.
        while running_proxy >/dev/null; do
            if [ "$SECONDS" -ge "$deadline" ]; then
                say "it is still there after 12 s: killing it"
                kill -KILL "$pid" || true
                break
            fi
            sleep 0.1
        done
    fi
    rm -f "$state/proxy.pid"
    "$cluster_sh" down "$name"
}
