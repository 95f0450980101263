# shellcheck shell=sh disable=SC2086,SC2154
# The first five minutes, as a tired administrator has them; part of
# test-packages.sh. From the package to the first job: five commands.

echo "== the first five minutes"
in_root dpkg -i /new.deb                             # 1
expect "750 dirpin dirpin" in_root stat -c '%a %U %G' /var/lib/dirpin
expect "750 dirpin dirpin" in_root stat -c '%a %U %G' /var/log/dirpin
expect "755 root root" in_root stat -c '%a %U %G' /etc/dirpin
[ -L "$root/etc/systemd/system/multi-user.target.wants/dirpin.service" ] || fail "it does not start with the machine"
expect "there is no configuration" in_root dirpin check
expect "no systemd runs here" in_root dirpin service status
echo reads | in_root dirpin init $ldap               # 2
expect "640 root dirpin" in_root stat -c '%a %U %G' /etc/dirpin/dirpin.yaml
expect "600 dirpin dirpin" in_root stat -c '%a %U %G' /var/lib/dirpin/key
expect "600 dirpin dirpin" in_root stat -c '%a %U %G' /etc/dirpin/corp.pw
expect "overwrites nothing" in_root dirpin init
expect "finds 300 entries" in_root dirpin doctor     # 3
in_root dirpin check || fail "check"
start                                                # 4: dirpin service start
await "added=300\|300 users" in_root sh -c 'dirpin find --json | grep -c . | sed "s/$/ users/"'
in_root cp /root/job3.yaml /var/lib/dirpin/jobs/     # 5
await "Updated 12, skipped 0, flagged 0, failed 0, not run 0 of 12 selected." in_root sh -c 'cat /var/lib/dirpin/jobs/accepted/*.status.txt'
expect "3" in_root sh -c 'ls /var/lib/dirpin/reports/1-job3 | grep -c .'
stop

echo "== what goes wrong in them says what to do"
printf 'selct: {query: all}\nreset: {pin: 471108}\n' >"$root/root/wrong.yaml"
expect "did you mean select?" in_root dirpin check /root/wrong.yaml
chmod 644 "$root/etc/dirpin/corp.pw"
expect "chown dirpin /etc/dirpin/corp.pw && chmod 600 /etc/dirpin/corp.pw" in_root dirpin doctor
in_root sh -c 'chown dirpin /etc/dirpin/corp.pw && chmod 600 /etc/dirpin/corp.pw'
chmod 600 "$root/etc/ldap-ca.pem"
expect "chmod a+r /etc/ldap-ca.pem" in_root dirpin doctor
chmod 644 "$root/etc/ldap-ca.pem"
in_root dirpin doctor >/dev/null || fail "doctor, when all is mended"
expect "sudo -u dirpin dirpin" in_root setpriv --reuid=65534 --clear-groups dirpin find
[ -z "$(find "$root/var/lib/dirpin" ! -user "$(in_root id -u dirpin)")" ] || fail "root owns something in the state folder"
in_root dpkg -P dirpin
[ ! -e "$root/var/lib/dirpin" ] || fail "purge left the state"
