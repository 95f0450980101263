#!/bin/sh
# Installs, upgrades, removes and purges the packages as an administrator would,
# in a bare Debian and a scratch root for rpm; needs root, the network, and some
# minutes. DIRPIN_DEBIAN names a folder with a bare Debian to copy instead of
# fetching one.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/dirpin-packages.XXXXXX")
root=$work/debian
cleanup() {
	umount "$root/proc" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
fail() { echo "test-packages: $*" >&2; exit 1; }
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
expect() { # WANTED COMMAND…
	want=$1
	shift
	got=$("$@" 2>&1) || true
	case $got in *"$want"*) ;; *) fail "$*: wanted $want, got: $got" ;; esac
}

packaging/dist.sh "$work/new" amd64
deb=$(echo "$work"/new/dirpin_*_amd64.deb)
echo "== sizes"
binary=$(dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/dirpin | wc -c)
echo "program $binary bytes, deb $(stat -c %s "$deb") bytes"
[ "$binary" -le 25000000 ] && [ "$(stat -c %s "$deb")" -le 9000000 ] || fail "larger than 25 and 9 MB"

echo "== lintian"
lintian --fail-on error "$deb"

# An older package: the same, numbered lower, with a program that says so too.
mkdir "$work/old"
dpkg-deb -R "$deb" "$work/old/tree"
sed -i 's/^Version: .*/Version: 0.0.0~before/' "$work/old/tree/DEBIAN/control"
old=$work/old/dirpin.deb
dpkg-deb -b "$work/old/tree" "$old" >/dev/null

echo "== a bare Debian"
if [ -n "${DIRPIN_DEBIAN:-}" ]; then
	cp -a "$DIRPIN_DEBIAN" "$root"
else
	debootstrap --variant=minbase --include=systemd bookworm "$root" >"$work/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -5 "$work/debootstrap.log")"
fi
mount -t proc proc "$root/proc"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp "$old" "$root/old.deb"
cp "$deb" "$root/new.deb"

echo "== install"
in_root dpkg -i /old.deb
expect "750 dirpin dirpin" in_root stat -c '%a %U %G' /var/lib/dirpin
expect "750 dirpin dirpin" in_root stat -c '%a %U %G' /var/log/dirpin
expect "755 root root" in_root stat -c '%a %U %G' /etc/dirpin
[ -L "$root/etc/systemd/system/multi-user.target.wants/dirpin.service" ] || fail "it does not start with the machine"
expect "there is no configuration" in_root dirpin check
expect "no systemd runs here" in_root dirpin service status

echo "== first job"
in_root dirpin init
expect "640 root dirpin" in_root stat -c '%a %U %G' /etc/dirpin/dirpin.yaml
expect "600 dirpin dirpin" in_root stat -c '%a %U %G' /var/lib/dirpin/key
printf 'user_id,last_name,department\njsmith,Smith,12\n' >"$root/tmp/users.csv"
printf 'select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n' >"$root/tmp/job.yaml"
in_root dirpin users import /tmp/users.csv
in_root dirpin run /tmp/job.yaml --yes
expect "" in_root dirpin doctor
[ -z "$(find "$root/var/lib/dirpin" ! -user "$(in_root id -u dirpin)")" ] || fail "root owns something in the state folder"

echo "== upgrade, while the service runs"
echo '# mine' >>"$root/etc/logrotate.d/dirpin"
echo '# mine' >>"$root/etc/dirpin/dirpin.yaml"
chroot "$root" dirpin serve >"$work/serve.log" 2>&1 &
serve=$!
in_root dpkg -i /new.deb
kill "$serve"
wait "$serve" || fail "serve: $(cat "$work/serve.log")"
for file in /etc/logrotate.d/dirpin /etc/dirpin/dirpin.yaml; do grep -q '^# mine' "$root$file" || fail "$file was changed"; done
expect "jsmith" in_root dirpin find
expect "1" in_root dirpin jobs list
in_root dpkg -i /new.deb # once more: nothing to do twice

echo "== remove and install again: everything is there"
in_root dpkg -r dirpin
[ ! -e "$root/usr/bin/dirpin" ] && [ -e "$root/var/lib/dirpin/dirpin.db" ] && [ -e "$root/etc/dirpin/dirpin.yaml" ] || fail "remove took the wrong things"
in_root dpkg -i /new.deb
expect "jsmith" in_root dirpin find
[ -L "$root/etc/systemd/system/multi-user.target.wants/dirpin.service" ] || fail "it does not start with the machine any more"

echo "== purge: nothing is left but the account"
in_root dpkg -P dirpin
left=$(in_root find / -xdev \( -path /proc -o -path /sys \) -prune -o -name '*dirpin*' -print)
[ -z "$left" ] || fail "purge left $left"
in_root dpkg -P dirpin

echo "== rpm"
rpm=$(echo "$work"/new/dirpin-*.x86_64.rpm)
rpmlint "$rpm" || echo "rpmlint: see above" >&2
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
