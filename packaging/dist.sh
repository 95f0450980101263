#!/bin/sh
# Makes the packages, a checksum of each and the SBOM in a folder: dist.sh OUT
# [ARCH…]. What comes out depends on the commit, Go and the C compilers alone:
# packaging/reproduce.sh holds it to that.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- amd64 arm64 windows
cd "$(dirname "$0")/.."

# A tag v1.2.3 is 1.2.3; four commits later it is 1.2.3+4.gabcdef. Before the
# first tag the commits count, so that later packages are upgrades.
describe=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || echo "v0.0.0-$(git rev-list --count HEAD)-g$(git rev-parse --short=8 HEAD)")
VERSION=$(echo "${describe#v}" | sed 's/-\([0-9]*\)-\(g[0-9a-f]*\)$/+\1.\2/; s/-/~/g')
[ -z "$(git status --porcelain)" ] || VERSION=$VERSION.dirty
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
MTIME=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
MAINTAINER=${DIRPIN_MAINTAINER:-dirpin maintainers <dirpin@users.noreply.github.com>}
GLIBC=2.34
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC CGO_ENABLED=1
unset GOFLAGS CGO_CFLAGS CGO_LDFLAGS
umask 022

work=$(mktemp -d "${TMPDIR:-/tmp}/dirpin-dist.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The SBOM has the hash of the tool that made it.
(cd packaging/tools && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags -buildid= -o "$work/" tool)

# Libraries that wait for others more than they work: inlining in them makes the
# program larger by 0.8 MB.
slim=
for library in github.com/jackc google.golang.org/protobuf github.com/prometheus github.com/riverqueue github.com/spf13 \
	github.com/pressly net/http github.com/wneessen github.com/tidwall; do
	slim="$slim -gcflags=$library/...=-l"
done

build() { # FILE [TAGS]
	# shellcheck disable=SC2086
	go build -trimpath -buildvcs=false -tags "${2:-}" $slim -ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$1" ./cmd/dirpin
}

# What is the same for each machine: man pages, completions, documents.
build "$work/host" man
"$work/host" man "$work/man" "$MTIME"
common=$work/common/usr
share=$common/share
for page in "$work"/man/*; do
	install -D -m 0644 "$page" "$share/man/man${page##*.}/${page##*/}"
done
find "$share/man" -type f -exec gzip -9n {} +
mkdir -p "$share/bash-completion/completions" "$share/fish/vendor_completions.d" "$share/zsh/vendor-completions"
"$work/host" completion bash >"$share/bash-completion/completions/dirpin"
"$work/host" completion fish >"$share/fish/vendor_completions.d/dirpin.fish"
"$work/host" completion zsh >"$share/zsh/vendor-completions/_dirpin"
doc=$share/doc/dirpin
mkdir -p "$doc/examples"
cp README.md docs/*.md "$doc/"
rm "$doc/architecture.md" "$doc/benchmarks.md"
git ls-files -z packaging/hooks packaging/monitoring | grep -zv '_test\.go$\|doc\.go$' | xargs -0 cp --parents -t "$work"
cp -r "$work/packaging/." "$doc/examples/"
for schema in config job report hook; do "$work/host" schema $schema >"$doc/examples/$schema.schema.json"; done
cp packaging/linux/copyright "$doc/"
printf 'dirpin (%s) stable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' "$VERSION" "$VERSION" "$MAINTAINER" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
install -D -m 0644 packaging/systemd/dirpin.service "$common/lib/systemd/system/dirpin.service"
install -D -m 0644 packaging/systemd/dirpin.sysusers "$common/lib/sysusers.d/dirpin.conf"
install -D -m 0644 packaging/linux/logrotate "$work/common/etc/logrotate.d/dirpin"
install -D -m 0644 packaging/linux/lintian-overrides "$share/lintian/overrides/dirpin"
for kind in deb rpm; do
	mkdir "$work/$kind"
	for script in postinst prerm postrm; do
		sed -e '/^@account@$/{r packaging/linux/account.sh' -e 'd}' "packaging/linux/$kind/$script" >"$work/$kind/$script"
	done
done

sbom() { # PROGRAM NAME
	"$work/cyclonedx-gomod" bin -json -noserial -notimestamp -licenses -std -version "$VERSION" -output "$out/dirpin_${VERSION}_$2.cdx.json" "$1" 2>"$work/sbom.log" || { cat "$work/sbom.log" >&2; exit 1; }
}

# The MSI, for x64. Its program has a version and a manifest, which the linker takes
# from a file beside the sources.
windows() {
	stage=$work/windows
	resource=cmd/dirpin/resource_windows_amd64.syso
	mkdir "$stage" "$work/resource"
	cp packaging/windows/dirpin.manifest "$work/resource/"
	sed "s|@VERSION@|$VERSION|; s|@NUMBERS@|$(packaging/windows/numbers.sh "$VERSION" | tr . ,)|" packaging/windows/dirpin.rc >"$work/resource/dirpin.rc"
	trap 'rm -rf "$work" "$resource"' EXIT
	(cd "$work/resource" && x86_64-w64-mingw32-windres dirpin.rc -O coff -o resource.syso)
	cp "$work/resource/resource.syso" "$resource"
	(export GOOS=windows GOARCH=amd64 CC="${CC_WINDOWS:-x86_64-w64-mingw32-gcc}" && build "$stage/dirpin.exe")
	rm "$resource"
	trap 'rm -rf "$work"' EXIT
	packaging/windows/sign.sh "$stage/dirpin.exe"
	sbom "$stage/dirpin.exe" windows_amd64
	mkdir "$stage/docs"
	cp "$doc"/*.md "$stage/docs/"
	cp -r "$doc/examples" "$stage/examples"
	cp LICENSE "$stage/LICENSE.txt"
	find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	packaging/windows/msi.sh "$stage" "$VERSION" "$out/dirpin_${VERSION}_windows_amd64.msi"
	packaging/windows/sign.sh "$out/dirpin_${VERSION}_windows_amd64.msi"
	echo "windows: the program has $(stat -c %s "$stage/dirpin.exe") bytes" >&2
}

# documents takes what an rpm marks as documents out of a stage, and prints them as
# nfpm's contents. What was released stands in a file beside it.
documents() { # STAGE
	mkdir -p "$1-doc/usr/share"
	for of in doc man licenses; do mv "$1/usr/share/$of" "$1-doc/usr/share/$of"; done
	(cd "$1-doc" && find usr/share/doc/dirpin usr/share/licenses/dirpin -type d | sort | sed 's|.*|  - {dst: "/&", type: dir, file_info: {mode: 0755}}|'
		find usr/share/doc usr/share/man -type f | sort | sed "s|.*|  - {src: \"$1-doc/&\", dst: \"/&\", type: doc}|"
		find usr/share/licenses -type f | sort | sed "s|.*|  - {src: \"$1-doc/&\", dst: \"/&\", type: license}|")
	printf -- '- semver: "%s-1"\n  date: %s\n  packager: %s\n  changes: [{note: Release %s}]\n' "$VERSION" "$MTIME" "$MAINTAINER" "$VERSION" >"$work/changelog.yaml"
	echo "changelog: $work/changelog.yaml"
}

for ARCH in "$@"; do
	case $ARCH in
	windows) windows; continue ;;
	amd64) export CC="${CC_AMD64:-x86_64-linux-gnu-gcc}" ;;
	arm64) export CC="${CC_ARM64:-aarch64-linux-gnu-gcc}" ;;
	*) echo "no $ARCH: amd64, arm64 or windows" >&2; exit 2 ;;
	esac
	export GOARCH="$ARCH" GOOS=linux
	build "$work/dirpin-$ARCH"
	# What it asks of the C library must be what the packages ask for.
	needs=$(readelf -V "$work/dirpin-$ARCH" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1)
	[ "$(printf '%s\n' "$needs" "$GLIBC" | sort -V | tail -1)" = "$GLIBC" ] || { echo "$ARCH needs glibc $needs, the packages say $GLIBC" >&2; exit 1; }
	: >"$work/documents"
	for kind in deb rpm; do
		stage=$work/stage-$ARCH-$kind
		cp -r "$work/common" "$stage"
		install -D -m 0755 "$work/dirpin-$ARCH" "$stage/usr/bin/dirpin"
		if [ $kind = rpm ]; then
			mv "$stage/usr/share/zsh/vendor-completions" "$stage/usr/share/zsh/site-functions"
			install -D -m 0644 LICENSE "$stage/usr/share/licenses/dirpin/LICENSE"
			rm -r "$stage/usr/share/doc/dirpin/copyright" "$stage/usr/share/doc/dirpin/changelog.gz" "$stage/usr/share/lintian"
			documents "$stage" >"$work/documents"
		fi
		chmod -R u=rwX,go=rX "$stage"
		find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
		sed -e "s|@ARCH@|$ARCH|; s|@VERSION@|$VERSION|; s|@MAINTAINER@|$MAINTAINER|; s|@GLIBC@|$GLIBC|" \
			-e "s|@STAGE@|$work/stage-$ARCH-$kind|; s|@SCRIPTS@|$work/$kind|" \
			-e "/^@DOCUMENTS@\$/{r $work/documents" -e 'd}' packaging/linux/nfpm.yaml >"$work/nfpm.yaml"
		"$work/nfpm" package --config "$work/nfpm.yaml" --packager $kind --target "$out/" >"$work/nfpm.log" 2>&1 || { cat "$work/nfpm.log" >&2; exit 1; }
	done
	sbom "$work/dirpin-$ARCH" "linux_$ARCH"
	echo "$ARCH: the program has $(stat -c %s "$work/dirpin-$ARCH") bytes, needs glibc $needs" >&2
done
(cd "$out" && sha256sum dirpin[-_]* >SHA256SUMS)
ls -l "$out" >&2
