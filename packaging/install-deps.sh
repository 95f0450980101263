#!/bin/sh
# Installs the Debian packages named as arguments that are not there yet.
# Packages must not start services of their own: where no policy says so,
# /usr/sbin/policy-rc.d is written first.
set -eu
need=
for p in "$@"; do
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || need="$need $p"
done
[ -n "$need" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install$need first, or run as root: apt-get install$need" >&2; exit 1; }
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; }
case "$need" in *postgresql*) # and no cluster of everybody's: tests make their own
	[ -e /etc/postgresql-common/createcluster.conf ] || { mkdir -p /etc/postgresql-common; echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf; } ;;
esac
export DEBIAN_FRONTEND=noninteractive
install() {
	# shellcheck disable=SC2086
	apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install $need </dev/null >&2
}
install || { apt-get -q update >&2 && install; }
