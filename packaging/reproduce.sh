#!/bin/sh
# Shows that the packages come out the same to the byte when they are made again:
# from another folder, with empty caches, at another time.
# reproduce.sh [ARCH…]
set -eu
cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain)" ] || { echo "commit first: a release is made of a commit" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/dirpin-twice.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
packaging/dist.sh "$work/first" "$@"
git clone -q . "$work/somewhere else"
(umask 077; GOCACHE=$work/cache TZ=Asia/Tokyo HOME=$work "$work/somewhere else/packaging/dist.sh" "$work/second" "$@")
diff -r "$work/first" "$work/second"
echo "The same twice, in two folders:" && cat "$work/first/SHA256SUMS"
