#!/usr/bin/env bash
# Stands between Cargo and rustc (RUSTC_WRAPPER) and has the proxy and its fuzz targets compiled with the coverage
# counters that libFuzzer reads. Only these: what is in the dependencies is not looked for, and they need no second
# build. The flags are stable ones.
set -euo pipefail
case ${CARGO_PKG_NAME:-} in
    rwproxy | rwproxy-fuzz)
        exec "$@" --cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
            -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
            -C llvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
esac
