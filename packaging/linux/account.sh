# Makes the account and the folders of the service where they are missing. It is
# put into the scripts of both kinds of packages.
account() {
	if ! getent passwd dirpin >/dev/null; then
		if command -v systemd-sysusers >/dev/null; then
			systemd-sysusers /usr/lib/sysusers.d/dirpin.conf
		else
			useradd --system --user-group --no-create-home --home-dir /var/lib/dirpin --shell /usr/sbin/nologin --comment "dirpin, the service" dirpin
		fi
	fi
	for dir in /var/lib/dirpin /var/log/dirpin; do
		[ -d "$dir" ] || install -d -o dirpin -g dirpin -m 0750 "$dir"
	done
}
