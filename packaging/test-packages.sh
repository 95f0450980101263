#!/bin/sh
# Installs, uses, upgrades, removes and purges the packages as an administrator
# would, in a bare Debian and a scratch root for rpm; needs root, the network, the
# history of the repository, and some minutes. DIRPIN_DEBIAN names a folder with a
# bare Debian to copy instead of fetching one.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/dirpin-packages.XXXXXX")
root=$work/debian
serve=
cleanup() {
	[ -z "$serve" ] || kill "$serve" 2>/dev/null || true
	[ ! -s "$work/ldap/pid" ] || kill "$(cat "$work/ldap/pid")" 2>/dev/null || true
	umount "$root/proc" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
fail() {
	echo "test-packages: $*" >&2
	exit 1
}
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
expect() { # WANTED COMMAND…
	want=$1
	shift
	got=$("$@" 2>&1) || true
	case $got in *"$want"*) ;; *) fail "$*: wanted $want, got: $got" ;; esac
}
await() { # WANTED COMMAND…: for half a minute
	want=$1
	shift
	tries=0
	until "$@" 2>&1 | grep -q "$want"; do
		tries=$((tries + 1))
		[ $tries -lt 60 ] || fail "$*: waited for $want, has: $("$@" 2>&1)"
		sleep 0.5
	done
}
start() { # what systemd would
	chroot "$root" dirpin serve >"$work/serve.log" 2>&1 &
	serve=$!
	await msg=ready cat "$work/serve.log"
}
stop() {
	kill "$serve"
	wait "$serve" || fail "serve: $(cat "$work/serve.log")"
	serve=
}

packaging/dist.sh "$work/new" amd64 arm64
deb=$(echo "$work"/new/dirpin_*_amd64.deb)
echo "== sizes"
binary=$(dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/dirpin | wc -c)
echo "program $binary bytes, deb $(stat -c %s "$deb") bytes"
[ "$binary" -le 25000000 ] && [ "$(stat -c %s "$deb")" -le 9000000 ] || fail "larger than 25 and 9 MB"

echo "== lintian"
lintian --fail-on error "$deb"

# The first version that had packages. Its database has schema 10.
first=d38c798a
git clone -q . "$work/first"
git -C "$work/first" checkout -q $first
"$work/first/packaging/dist.sh" "$work/old" amd64 2>"$work/old.log" || fail "the old package: $(tail -5 "$work/old.log")"

echo "== a bare Debian"
if [ -n "${DIRPIN_DEBIAN:-}" ]; then
	cp -a "$DIRPIN_DEBIAN" "$root"
else
	debootstrap --variant=minbase --include=systemd bookworm "$root" >"$work/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -5 "$work/debootstrap.log")"
fi
mount -t proc proc "$root/proc"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp "$deb" "$root/new.deb"
cp "$work"/old/dirpin_*_amd64.deb "$root/old.deb"
packaging/test-directory.sh "$work/ldap"
ldap="--server ldaps://127.0.0.1:$(cat "$work/ldap/port") --bind-dn cn=sync,dc=example,dc=com --ca-file /etc/ldap-ca.pem"
cp "$work/ldap/ca.pem" "$root/etc/ldap-ca.pem"
for job in 3 4 5; do
	printf 'select: {query: {where: [{field: department, op: is exactly, text: "%d"}]}}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n' $job >"$root/root/job$job.yaml"
done
sed 's/^deliver.*/&\nrun: held/' "$root/root/job4.yaml" >"$root/root/held.yaml"
sed 's/^deliver.*/&\nrun: {at: 2099-12-24T20:00:00+01:00}/' "$root/root/job5.yaml" >"$root/root/at.yaml"

. packaging/test-minutes.sh
. packaging/test-upgrade.sh

echo "== arm64, on an emulated processor"
dpkg-deb -x "$work"/new/dirpin_*_arm64.deb "$work/arm"
arm() { (cd "$work/arm" && DIRPIN_CONFIG=$work/arm/dirpin.yaml qemu-aarch64-static -L /usr/aarch64-linux-gnu usr/bin/dirpin "$@"); }
arm version
arm init --state-dir "$work/arm/state"
arm users import "$root/root/users.csv"
printf 'select: {query: all}\nreset: {pin: "284519"}\n' >"$work/arm/job.yaml"
expect "Updated 1, skipped 0, flagged 0, failed 0, not run 0 of 1 selected." arm run job.yaml --yes
expect right sh -c "printf 284519 | DIRPIN_CONFIG='$work/arm/dirpin.yaml' qemu-aarch64-static -L /usr/aarch64-linux-gnu '$work/arm/usr/bin/dirpin' verify jsmith --pin"

echo "== rpm"
rpm=$(echo "$work"/new/dirpin-*.x86_64.rpm)
rpmlint --rpmlintrc packaging/linux/rpmlintrc "$rpm" || fail "rpmlint"
rpm -qp --scripts "$rpm" >"$work/scripts"
grep -q dirpin.service "$work/scripts" || fail "the rpm has no scripts"
mkdir -p "$work/rpm"
rpm --root "$work/rpm" --initdb
rpm --root "$work/rpm" -i --nodeps --noscripts "$rpm"
rpm --root "$work/rpm" -V --nodeps --noscripts dirpin || fail "rpm -V"
"$work/rpm/usr/bin/dirpin" version
echo '# mine' >>"$work/rpm/etc/logrotate.d/dirpin"
rpm --root "$work/rpm" -U --force --nodeps --noscripts "$rpm"
grep -q '^# mine' "$work/rpm/etc/logrotate.d/dirpin" || fail "the rpm replaced a configuration file"
rpm --root "$work/rpm" -e --nodeps --noscripts dirpin
[ ! -e "$work/rpm/usr/bin/dirpin" ] || fail "rpm -e left the program"
echo "All packages are as they should be."
