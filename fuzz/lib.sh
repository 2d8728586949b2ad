# shellcheck shell=bash
# Shared by smoke.sh and run.sh: building the targets, and running one. Sourced, never run.

fuzz=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$fuzz/../target}
# What runs find and need is kept here; the seeds in corpus/ are only read.
kept=$CARGO_TARGET_DIR/fuzz

targets() { find "$fuzz/targets" -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort; }

# build [TARGET…]: all of them without one. Dependencies are those of the proxy's own tests, in the same versions.
build() {
    local target which=()
    for target in "$@"; do which+=(--bin "fuzz-$target"); done
    [ $# -gt 0 ] || which=(--bins)
    cp "$fuzz/../Cargo.lock" "$fuzz/Cargo.lock"
    RUSTC_WRAPPER=$fuzz/instrument.sh cargo build --quiet --manifest-path "$fuzz/Cargo.toml" "${which[@]}"
}

# fuzz_target TARGET CORPUS SECONDS [OPTION…]: new inputs go to the directory CORPUS, what makes it fail to artifacts.
fuzz_target() {
    local target=$1 corpus=$2 seconds=$3 options=()
    shift 3
    mkdir -p "$corpus" "$kept/artifacts/$target"
    [ ! -f "$fuzz/dictionaries/$target" ] || options+=(-dict="$fuzz/dictionaries/$target")
    RUST_BACKTRACE=0 "$CARGO_TARGET_DIR/debug/fuzz-$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
        -artifact_prefix="$kept/artifacts/$target/" -print_final_stats=1 ${options[@]+"${options[@]}"} "$@" \
        "$corpus" "$fuzz/corpus/$target"
}
