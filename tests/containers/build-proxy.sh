#!/usr/bin/env bash
# The proxy's image without a registry: the binary that cargo built, on the Debian base of the database images.
#
#   tests/containers/build-proxy.sh BINARY [IMAGE=rwproxy]
#
# The base is sid's, whose C library is newer than that of any host with a release of Debian.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

binary=${1:?"which binary?"}
image=${2:-rwproxy}
[ -x "$binary" ] || die "no program $binary: cargo build --release"
require_docker
"$here/build-images.sh" base-sid
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$binary" "$context/rwproxy"
# The last stage of the product's recipe, with the binary from beside it.
{
    echo 'ARG BASE'
    sed -n '/^FROM ${BASE}/,$p' "$here/../../Dockerfile" | sed 's#^COPY --from=build [^ ]*/rwproxy #COPY rwproxy #'
} >"$context/Dockerfile"
run_logged "$context/build.log" "$image: docker build" env DOCKER_BUILDKIT=0 docker build --force-rm \
    --build-arg "BASE=$(base_image_name sid)" --tag "$image" "$context"
