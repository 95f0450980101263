#!/bin/sh
# A directory of 300 users on a free port of 127.0.0.1, for test-packages.sh:
# test-directory.sh DIR starts it and writes DIR/port, DIR/ca.pem and DIR/pid.
# The account is cn=sync,dc=example,dc=com with the password "reads".
set -eu
dir=$1
mkdir -p "$dir/db"
cd "$dir"
PATH=$PATH:/usr/sbin
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -keyout ca.key -out ca.pem \
	-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ldap -keyout tls.key -out tls.csr 2>/dev/null
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >ext
openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out tls.pem 2>/dev/null
cat >slapd.conf <<EOF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile $dir/pid
TLSCertificateFile $dir/tls.pem
TLSCertificateKeyFile $dir/tls.key
database mdb
suffix dc=example,dc=com
rootdn cn=admin,dc=example,dc=com
rootpw writes
directory $dir/db
maxsize 1073741824
index objectClass,uid,entryUUID,entryCSN eq
limits dn.exact="cn=sync,dc=example,dc=com" size=unlimited time=unlimited
access to attrs=userPassword by anonymous auth
access to * by dn.exact="cn=sync,dc=example,dc=com" read by * none
overlay syncprov
EOF
{
	printf 'dn: dc=example,dc=com\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n'
	printf 'dn: cn=sync,dc=example,dc=com\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: sync\nuserPassword: %s\n\n' "$(slappasswd -s reads)"
	i=0
	while [ $i -lt 300 ]; do
		printf 'dn: uid=u%03d,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: u%03d\ncn: User %d\nsn: Number%d\ngivenName: User\ndepartmentNumber: %d\n\n' $i $i $i $i $((i % 25))
		i=$((i + 1))
	done
} >people.ldif
slapadd -q -w -f slapd.conf -l people.ldif
# Another server may take the port between the look and the start: try again.
tries=0
while :; do
	port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
	slapd -f slapd.conf -h "ldaps://127.0.0.1:$port/ ldapi://$(echo "$dir/ldapi" | sed 's|/|%2F|g')" && break
	tries=$((tries + 1))
	[ $tries -lt 5 ] || exit 1
done
echo "$port" >port
