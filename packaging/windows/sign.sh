#!/bin/sh
# Signs programs and MSIs in place, as $DIRPIN_SIGN says, which is what osslsigncode
# is told of key and time stamp; without it they stay unsigned. docs/windows.md tells
# where a real key comes from. sign.sh FILE…
set -eu
[ -n "${DIRPIN_SIGN:-}" ] || exit 0
for f in "$@"; do
	# shellcheck disable=SC2086
	osslsigncode sign $DIRPIN_SIGN -h sha256 -n dirpin -i https://github.com/dirpin/dirpin -in "$f" -out "$f.signed" >&2
	mv "$f.signed" "$f"
done
