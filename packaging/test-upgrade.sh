# shellcheck shell=sh disable=SC2086,SC2154
# An older version with a live database is upgraded, taken back, removed and
# purged; part of test-packages.sh.

echo "== an older version at work"
in_root dpkg -i /old.deb
in_root dirpin init
echo reads >"$root/etc/dirpin/corp.pw"
in_root sh -c 'chown dirpin /etc/dirpin/corp.pw && chmod 600 /etc/dirpin/corp.pw'
cat >>"$root/etc/dirpin/dirpin.yaml" <<EOF
# mine
agreements:
  - name: corp
    servers: ["ldaps://127.0.0.1:$(cat "$work/ldap/port")"]
    ca_file: /etc/ldap-ca.pem
    bind: {dn: "cn=sync,dc=example,dc=com", password: {file: /etc/dirpin/corp.pw}}
    base: dc=example,dc=com
EOF
echo '# mine' >>"$root/etc/logrotate.d/dirpin"
expect "added 300" in_root dirpin sync
printf 'user_id,last_name,department\njsmith,Smith,99\n' >"$root/root/users.csv"
in_root dirpin users import /root/users.csv
printf 284519 | in_root dirpin users reset jsmith --pin
start
in_root dirpin jobs add /root/job3.yaml
in_root dirpin jobs add /root/held.yaml
in_root dirpin jobs add /root/at.yaml
await "2	job3	done" in_root dirpin jobs list

echo "== upgrade, while it runs"
in_root dpkg -i /new.deb
for file in /etc/logrotate.d/dirpin /etc/dirpin/dirpin.yaml; do grep -q '^# mine' "$root$file" || fail "$file was changed"; done
stop # as the restart of the package does
start
ls "$root"/var/lib/dirpin/dirpin.db.before-schema-* >/dev/null || fail "no copy of the former database"
expect "2	job3	done" in_root dirpin jobs list
expect "3	held	held" in_root dirpin jobs list
expect "4	at	scheduled" in_root dirpin jobs list
expect "right" sh -c "printf 284519 | chroot '$root' dirpin verify jsmith --pin"
ldapadd -H "ldapi://$(echo "$work/ldap/ldapi" | sed 's|/|%2F|g')" -x -D cn=admin,dc=example,dc=com -w writes >/dev/null <<EOF
dn: uid=new,dc=example,dc=com
objectClass: inetOrgPerson
uid: new
cn: New
sn: New
departmentNumber: 5
EOF
in_root dirpin sync
expect "ldap-active" in_root dirpin --json find "user id is exactly new"
in_root dirpin jobs release 3
in_root dirpin jobs schedule 4 --now
await "3	held	done.*	12	12	0	0	0	0" in_root dirpin jobs list
await "4	at	done.*	13	13	0	0	0	0" in_root dirpin jobs list
expect "0 jobs have not ended" in_root dirpin doctor
stop
in_root dpkg -i /new.deb # once more: nothing to do twice

echo "== back to the older version, as docs/install.md says"
in_root dpkg -i /old.deb >/dev/null 2>&1 || fail "downgrade"
expect "the database has schema" in_root dirpin find
in_root sh -c 'dirpin restore /var/lib/dirpin/dirpin.db.before-schema-*'
expect "right" sh -c "printf 284519 | chroot '$root' dirpin verify jsmith --pin"
expect "jobs release --restored" in_root dirpin jobs add /root/job5.yaml
in_root dpkg -i /new.deb

echo "== remove and install again: everything is there"
in_root dpkg -r dirpin
[ ! -e "$root/usr/bin/dirpin" ] && [ -e "$root/var/lib/dirpin/dirpin.db" ] && [ -e "$root/etc/dirpin/dirpin.yaml" ] || fail "remove took the wrong things"
in_root dpkg -i /new.deb
expect "right" sh -c "printf 284519 | chroot '$root' dirpin verify jsmith --pin"
[ -L "$root/etc/systemd/system/multi-user.target.wants/dirpin.service" ] || fail "it does not start with the machine any more"

echo "== purge: nothing is left but the account"
in_root dpkg -P dirpin
left=$(in_root find / -xdev \( -path /proc -o -path /sys \) -prune -o -name '*dirpin*' -print)
[ -z "$left" ] || fail "purge left $left"
in_root dpkg -P dirpin
