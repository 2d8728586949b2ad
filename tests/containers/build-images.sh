#!/usr/bin/env bash
# Builds the database images that the tests and the demo run, from Debian packages alone: no registry is needed.
#
#   tests/containers/build-images.sh [mysql|mariadb|mariadb-11.8|all|router|base-SUITE]…   (default: mysql mariadb)
#
#   tests/containers/build-images.sh --remove                                 removes all of them
#
# An image whose recipe has not changed since it was built is left alone. It may be interrupted at any time: an image
# gets its name only when it is whole.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

work=
cleanup() { [ -z "$work" ] || as_root rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# base_image SUITE: prints the name of the image of Debian's minimal system of that suite; builds it if need be.
base_image() {
    local suite=$1 image
    image=$(base_image_name "$1")
    echo "$image"
    ! docker image inspect "$image" >/dev/null 2>&1 || return 0
    apt_install debootstrap debian-archive-keyring
    local root="$work/$suite"
    run_logged "$work/debootstrap-$suite.log" "$image: debootstrap $suite" \
        as_root debootstrap --variant=minbase "$suite" "$root"
    run_logged "$work/import-$suite.log" "$image: import" import_tree "$root" "$image"
    as_root rm -rf --one-file-system "$root"
}

# Packages, indexes and documentation are left out: they would be read and written again by every layer above.
import_tree() {
    as_root tar -C "$1" --one-file-system --exclude='./var/cache/apt/archives/*.deb' --exclude='./usr/share/doc/*' \
        --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' -c . | docker import - "$2"
}

# The recipe's fingerprint is kept as a label of the image made from it.
fingerprint() { cat "$here/$1"/* "$here/entrypoint.sh" | sha256sum | cut -d ' ' -f 1; }

# server_image IMAGE RECIPE SUITE
server_image() {
    local image=$1 recipe=$2 suite=$3 print base previous
    print=$(fingerprint "$recipe")
    if [ "$(docker image inspect --format '{{index .Config.Labels "rwproxy-test.recipe"}}' "$image" 2>/dev/null)" = "$print" ]; then
        say "$image: there already"
        return 0
    fi
    base=$(base_image "$suite")
    previous=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
    mkdir -p "$work/context-$recipe"
    cp "$here/$recipe"/* "$here/entrypoint.sh" "$work/context-$recipe/"
    # The host's network: the builder's own may have no way to the package archive. The classic builder, since
    # BuildKit is a package of its own on Debian.
    run_logged "$work/build-$recipe.log" "$image: docker build (packages of Debian $suite)" \
        env DOCKER_BUILDKIT=0 docker build --force-rm --network host --build-arg "BASE=$base" \
        --label "rwproxy-test.recipe=$print" --tag "$image" "$work/context-$recipe"
    # The one of an older recipe has lost its name; it stays only while a container still runs it.
    [ -z "$previous" ] || docker image rm "$previous" >/dev/null 2>&1 || true
    say "$image: built, $(docker run --rm --entrypoint sh "$image" -c '(mariadbd --version || mysqld --version || mysqlrouter --version) 2>/dev/null')"
}

# Those that a container still uses stay.
remove_images() {
    local images
    images=$(docker images --filter 'reference=rwproxy-test/*' --format '{{.Repository}}:{{.Tag}}')
    # shellcheck disable=SC2086  # a list of names
    [ -z "$images" ] || docker image rm $images
}

main() {
    local flavour
    [ $# -gt 0 ] || set -- mysql mariadb
    require_docker
    case $1 in
        --remove) remove_images; return ;;
        all)      set -- mysql mariadb mariadb-11.8 ;;
    esac
    # Tests that run at once may all find an image missing: one builds it, the others wait and find it there.
    exec 9>"${TMPDIR:-/tmp}/rwproxy-images-$(id -u).lock"
    flock --timeout 1800 9 || die "another build of the images has not ended within 30 minutes"
    # Not /tmp: it may be mounted nodev or be small, and debootstrap makes device nodes.
    work=$(as_root mktemp -d /var/tmp/rwproxy-images.XXXXXX)
    as_root chown "$(id -u)" "$work"
    for flavour in "$@"; do
        case $flavour in
            mysql)        server_image "$(default_image mysql)" mysql sid ;;
            mariadb)      server_image "$(default_image mariadb)" mariadb bookworm ;;
            mariadb-11.8) server_image "$(default_image mariadb-11.8)" mariadb trixie ;;
            router)       server_image rwproxy-test/router:sid router sid ;;
            base-*)       base_image "${flavour#base-}" >/dev/null ;;
            *)            die "unknown image '$flavour' (mysql, mariadb, mariadb-11.8, all, router, base-SUITE)" ;;
        esac
    done
}

main "$@"
