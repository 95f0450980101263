#!/bin/bash
# Runs what Windows is different in under Wine: tests of packages, then the program
# as an administrator meets it, from init to the removal of the service. What Wine
# cannot show is listed in docs/windows.md. test-windows.sh [DIRPIN.EXE]
set -euo pipefail
cd "$(dirname "$0")/.."
CC=${CC_WINDOWS:-x86_64-w64-mingw32-gcc}
work=$(mktemp -d "${TMPDIR:-/tmp}/dirpin-wine.XXXXXX")
export WINEPREFIX=$work/prefix WINEDEBUG=-all LC_ALL=C.UTF-8
unset DISPLAY DIRPIN_CONFIG
c=$WINEPREFIX/drive_c
data=$c/ProgramData/dirpin
end() {
	[ -z "${user:-}" ] || exec {user}>&-
	[ ! -e "$work/directory/pid" ] || kill "$(cat "$work/directory/pid")" || true
	wineserver -k || true
	wineserver -w || true
	rm -rf "$work"
}
trap end EXIT
fail() {
	echo "FAILED: $*" >&2
	[ ! -e "$work/out" ] || cat "$work/out" >&2
	exit 1
}

# dirpin CODE ARG…: runs the program and wants an exit code; what it prints is in
# $work/out.
dirpin() {
	local want=$1 got=0
	shift
	wine 'C:\dirpin test\dirpin.exe' "$@" >"$work/out" 2>&1 <"${input:-/dev/null}" || got=$?
	[ "$got" = "$want" ] || fail "dirpin $*: exit code $got, not $want"
}
# Wine has no groups in lists, but in the modes that it makes of them.
closed() { [ $((0$(stat -c %a "$1") & 007)) = 0 ] || fail "$1 is open to others"; }
says() { grep -qF -- "$1" "$work/out" || fail "it does not say: $1"; }
# await WHAT COMMAND…: until the command succeeds, for 30 s.
await() {
	local what=$1
	shift
	for _ in $(seq 300); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	fail "$what did not happen within 30 s: $*"
}
# found TEXT FILES: FILES is a pattern.
found() { grep -qF -- "$1" $2; }
step() { echo "== $*" >&2; }

step "build"
if [ $# -gt 0 ]; then
	cp "$1" "$work/dirpin.exe"
else
	GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=$CC go build -trimpath -o "$work/dirpin.exe" ./cmd/dirpin
fi
for hook in hook.exe bcryptprimitives.dll; do
	$CC -O1 -Wall $([ "${hook#*.}" = exe ] || echo -shared) -o "$work/$hook" "packaging/windows/wine/${hook%.*}.c" -ladvapi32
done
wine wineboot -i >/dev/null 2>&1
[ -e "$c/windows/system32/bcryptprimitives.dll" ] || cp "$work/bcryptprimitives.dll" "$c/windows/system32/"

step "packages"
# Files are readable by everybody: what may be private must be made so.
(umask 022; GOOS=windows CGO_ENABLED=0 go test -count=1 -exec wine ./internal/acl ./internal/winservice)

# From here on files are as on a Windows where folders hand their lists down.
umask 077; wineserver -w
mkdir "$c/dirpin test"
cp "$work/dirpin.exe" "$work/hook.exe" "$c/dirpin test/"

step "init, check, users"
dirpin 0 version
dirpin 2 check
says 'dirpin init'
dirpin 0 init
dirpin 2 init
says 'exists already'
closed "$data/key"
cat >>"$data/dirpin.yaml" <<'Y'
voicemail:
  - name: hook
    type: exec
    command: ['C:\dirpin test\hook.exe', 'C:\dirpin test']
    timeout: 5s
    retries: 0
Y
printf 'version: 1\r\nnonsense: 2\r\n' >"$work/bad.yaml"
cp "$work/bad.yaml" "$c/dirpin test/bad.yaml"
dirpin 2 --config 'C:\dirpin test\bad.yaml' check
says 'C:\dirpin test\bad.yaml:2:1'
dirpin 0 check
chmod o+w "$data/dirpin.yaml" # in Wine: Everyone may write
dirpin 2 check
says icacls
chmod o-w "$data/dirpin.yaml"
chmod o+r "$data/key"
dirpin 2 find
says icacls
chmod o-r "$data/key"
printf '\xef\xbb\xbfuser_id,first_name,last_name,department\r\nalice,Alice,Able,12\r\nbob,Bob,Büker,14\r\n' >"$c/dirpin test/users.csv"
dirpin 0 users import 'C:\dirpin test\users.csv'
says '2 users imported.'
dirpin 0 --json find
says 'Büker'
dirpin 0 doctor

step "credentials"
printf 's3cret value' >"$work/secret"
input=$work/secret dirpin 0 service credential token
closed "$data/credentials/token"
cp "$data/dirpin.yaml" "$work/plain.yaml"
printf 'http: {listen: "127.0.0.1:18765", metrics_token: {credential: token}}\n' >>"$data/dirpin.yaml"
dirpin 0 check
sed -i 's/credential: token/credential: none/' "$data/dirpin.yaml"
dirpin 2 serve
says 'dirpin service credential none'
cp "$work/plain.yaml" "$data/dirpin.yaml"

step "a directory, over TLS"
packaging/test-directory.sh "$work/directory" 2>"$work/out"
cp "$work/directory/ca.pem" "$c/dirpin test/ca.pem"
printf reads >"$work/bind"
other=(--config 'C:\dirpin test\other\dirpin.yaml')
input=$work/bind dirpin 0 "${other[@]}" init --state-dir 'C:\dirpin test\other state' --server "ldaps://127.0.0.1:$(cat "$work/directory/port")" \
	--ca-file 'C:\dirpin test\ca.pem' --bind-dn cn=sync,dc=example,dc=com
closed "$c/dirpin test/other/corp.pw"
dirpin 0 "${other[@]}" doctor
dirpin 0 "${other[@]}" sync
says 'added 300'
dirpin 0 "${other[@]}" sync
says 'added 0, updated 0'
dirpin 0 "${other[@]}" --json find 'User ID is exactly u007'
says 'ldap-active'

step "run, and a hook that hangs"
printf 'name: first\r\nselect: {query: all}\r\nreset: {pin: "4825"}\r\n' >"$c/dirpin test/job.yaml"
dirpin 0 run 'C:\dirpin test\job.yaml' --dry-run
dirpin 0 run 'C:\dirpin test\job.yaml' --yes
says 'Updated 2, skipped 0'
[ "$(grep -c '"pin":"4825"' "$c/dirpin test/requests")" = 2 ] || fail "the hook was not asked for both"
printf '\xef\xbb\xbf' | cmp -n 3 - "$data/reports/1-first/report.log" || fail "report.log has no BOM"
printf 4825 >"$work/pin"
input=$work/pin dirpin 0 verify alice --pin
still() { # the child of the hook adds nothing any more
	local size
	size=$(stat -c %s "$c/dirpin test/beats")
	sleep 0.5
	[ "$size" = "$(stat -c %s "$c/dirpin test/beats")" ]
}
touch "$c/dirpin test/hang"
printf 'select: {query: {match: all, where: [{field: user_id, op: is exactly, text: bob}]}}\nreset: {pin: "5937"}\n' >"$c/dirpin test/hang.yaml"
dirpin 1 run 'C:\dirpin test\hang.yaml' --yes
says 'Uncertain: 1'
[ -s "$c/dirpin test/beats" ] || fail "the hook had no child"
still || fail "the child of the hook lives on"
rm "$c/dirpin test/hang" "$c/dirpin test/beats"

step "the service"
# Wine ends services when the last program of the user does: here is one.
exec {user}> >(exec wine cmd.exe >/dev/null 2>&1)
dirpin 4 service status
says 'not installed'
dirpin 2 service start
dirpin 2 serve --service
says 'dirpin service start'
dirpin 0 service install
dirpin 0 service install # once more changes nothing
wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\dirpin' >"$work/out"
for text in 'NT SERVICE\dirpin' '"C:\dirpin test\dirpin.exe" serve --service' 'PreshutdownTimeout    REG_DWORD    0x2bf20' 'Start    REG_DWORD    0x2'; do says "$text"; done
wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\dirpin' >"$work/out"
says 'EventCreate.exe'
dirpin 4 service status
dirpin 0 service start
dirpin 0 service status
says 'NT SERVICE\dirpin'
dirpin 5 serve
says 'another dirpin serve is running: process'

step "dropped files"
cp "$c/dirpin test/job.yaml" "$data/jobs/plain.yaml"
await "a plain secret is refused" found 'a plain value may not stand' "$data/jobs/rejected/*plain.yaml.reason.txt"
printf '\xef\xbb\xbf' | cmp -n 3 - "$data"/jobs/rejected/*.reason.txt || fail "the reason has no BOM"
! grep -q 4825 "$data"/jobs/rejected/*plain.yaml || fail "the refused file keeps its secret"
sed -i 's/plain: false/plain: true/' "$data/dirpin.yaml"
dirpin 0 service reload
pid=$(wine 'C:\dirpin test\dirpin.exe' --json service status | grep -o '"pid":"[0-9]*' | grep -o '[0-9]*$')
# The reload is taken up when a file is taken that was refused before.
taken() {
	printf 'name: second\nselect: {query: all}\nreset: {pin: "6172"}\n' >"$data/jobs/second.tmp"
	mv "$data/jobs/second.tmp" "$data/jobs/second.yaml"
	sleep 2
	ls "$data"/jobs/accepted/*second.yaml
}
await "a file is taken" taken
await "its job ends" found 'Updated 2, skipped 0' "$data/jobs/accepted/*second.yaml.status.txt"
[ ! -e "$data/jobs/second.yaml" ] || fail "the taken file is still there"
[ -z "$(ls "$data/jobs/.claims")" ] || fail "claims are left"
printf 'name: other\nselect: {query: all}\nreset: {pin: "7261"}\n' >"$data/jobs/writable.tmp"
chmod 666 "$data/jobs/writable.tmp"
mv "$data/jobs/writable.tmp" "$data/jobs/writable.yaml"
await "a file is refused that everybody can write" found 'Everyone can write it' "$data/jobs/rejected/*writable.yaml.reason.txt"

step "a service that is killed in a push, with its hook"
touch "$c/dirpin test/hang"
printf 'name: third\nselect: {query: {match: all, where: [{field: user_id, op: is exactly, text: alice}]}}\nreset: {pin: "8194"}\n' >"$data/jobs/third.tmp"
mv "$data/jobs/third.tmp" "$data/jobs/third.yaml"
await "the hook hangs" test -s "$c/dirpin test/beats"
wine taskkill /f /pid "$pid" >"$work/out"
await "the hook's child ends with the service" still
rm "$c/dirpin test/hang"
dirpin 0 service start
await "the job goes on" found 'Updated 1, skipped 0' "$data/jobs/accepted/*third.yaml.status.txt"
[ "$(grep '"pin":"8194"' "$c/dirpin test/requests" | grep -o '"request_id":"[^"]*"' | sort -u | wc -l)" = 1 ] || fail "the push was repeated under another id"
[ "$(grep -c '"pin":"8194"' "$c/dirpin test/requests")" = 2 ] || fail "the push was not repeated"

step "stop, a faulty configuration, removal"
dirpin 0 service stop
dirpin 4 service status
says inactive
dirpin 4 service reload
echo 'nonsense: 1' >>"$data/dirpin.yaml"
dirpin 2 service start
says 'unknown key'
wine net start dirpin >"$work/out" 2>&1 || true
await "the service says why it stopped" bash -c 'wine "C:\dirpin test\dirpin.exe" service status | grep -q "exit code 2"'
dirpin 0 service uninstall
dirpin 4 service status
says 'not installed'
[ -e "$data/dirpin.db" ] || fail "the removal of the service took the database"
# A faulty configuration keeps nobody from installing.
dirpin 0 service install
says 'will not start with this configuration'
dirpin 0 service uninstall
step "the MSI, signed"
# A key of this test: a real one is bought (docs/windows.md).
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj '/CN=dirpin test' \
	-addext extendedKeyUsage=codeSigning -addext keyUsage=digitalSignature 2>"$work/out"
export DIRPIN_SIGN="-certs $work/cert.pem -key $work/key.pem"
mkdir -p "$work/stage/docs"
cp "$work/dirpin.exe" "$work/stage/"
cp docs/*.md "$work/stage/docs/"
packaging/windows/sign.sh "$work/stage/dirpin.exe" 2>"$work/out"
for version in 1.0.0 1.1.0; do
	[ $version = 1.0.0 ] || echo new >"$work/stage/docs/new in $version.txt"
	packaging/windows/msi.sh "$work/stage" $version "$c/$version.msi"
	packaging/windows/msi.sh "$work/stage" $version "$work/again.msi"
	cmp "$c/$version.msi" "$work/again.msi" || fail "the MSI made again is another one"
	packaging/windows/sign.sh "$c/$version.msi" 2>"$work/out"
done
for f in "$work/stage/dirpin.exe" "$c/1.0.0.msi" "$c/1.1.0.msi"; do
	osslsigncode verify -CAfile "$work/cert.pem" -in "$f" >"$work/out" 2>&1 || fail "$f: its signature does not hold"
done
head -c -1000 "$work/stage/dirpin.exe" >"$work/cut.exe"
! osslsigncode verify -CAfile "$work/cert.pem" -in "$work/cut.exe" >/dev/null 2>&1 || fail "a changed program has a good signature"

installed="$c/Program Files/dirpin"
cp "$work/plain.yaml" "$data/dirpin.yaml"
msi() { wine msiexec "$1" "C:\\$2.msi" /qn "/l*v" 'C:\msi.log' >"$work/out" 2>&1 || fail "msiexec $1 $2: exit code $?"; }
msi /i 1.0.0
cmp "$work/stage/dirpin.exe" "$installed/dirpin.exe"
[ -e "$installed/docs/windows.md" ] || fail "the pages are missing"
program() { wine 'C:\Program Files\dirpin\dirpin.exe' "$@" >"$work/out" 2>&1; }
program service status || true
says 'inactive, as NT SERVICE\dirpin, enabled at boot'
wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\dirpin' >"$work/out"
for text in '"C:\Program Files\dirpin\dirpin.exe" serve --service' 'PreshutdownTimeout    REG_DWORD    0x2bf20'; do says "$text"; done
wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\dirpin' >"$work/out"
says 'REG_EXPAND_SZ    %SystemRoot%\System32\EventCreate.exe'
path() { wine reg query 'HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment' /v PATH >"$work/out"; }
path
says 'C:\Program Files\dirpin\'
program service start || fail "the service does not start"
before=$(wine 'C:\Program Files\dirpin\dirpin.exe' --json service status)
msi /i 1.1.0
[ -e "$installed/docs/new in 1.1.0.txt" ] || fail "the upgrade brought nothing new"
wine 'C:\Program Files\dirpin\dirpin.exe' --json service status >"$work/out" || fail "the service does not run after the upgrade"
[ "$before" != "$(cat "$work/out")" ] || fail "the service is the former one"
wine reg query 'HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall' /s >"$work/out"
[ "$(grep -c 'DisplayName.*dirpin' "$work/out")" = 1 ] || fail "not one version is installed"
says '1.1.0.0'
program --json jobs list
says '"name":"third"'
msi /x 1.1.0
[ ! -e "$installed/dirpin.exe" ] || fail "the program is still there"
! wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\dirpin' >"$work/out" 2>&1 || fail "the service is still there"
! wine reg query 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\dirpin' >"$work/out" 2>&1 || fail "the source of events is still there"
path
! grep -q 'Program Files.dirpin' "$work/out" || fail "the PATH still has the folder"
[ -e "$data/dirpin.db" ] && [ -e "$data/key" ] && [ -e "$data/dirpin.yaml" ] || fail "the removal took what it must leave"
echo "all right under $(wine --version)" >&2
