#!/bin/sh
# Makes the MSI of a folder: msi.sh FOLDER VERSION OUT.msi. FOLDER holds dirpin.exe
# and what else is installed beside it.
set -eu
from=$(cd "$1" && pwd)
VERSION=$2
out=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/dirpin-msi.XXXXXX")
trap 'rm -rf "$work"' EXIT

# code TEXT: a GUID that follows from a text (RFC 9562, version 8).
code() {
	printf '%s' "$1" | sha256sum | sed 's/^\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\).*/\1-\2-8\3-8\4-\5/'
}
NUMBERS=$("$here/numbers.sh" "$VERSION")
# The same program is the same product, another one is another.
content=$(cd "$from" && find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum)

# Each folder is a component, as its first file is there.
files() { # FOLDER
	(cd "$from" && find "$1" -mindepth 1 -maxdepth 1 -type f ! -name dirpin.exe | LC_ALL=C sort) >"$work/list"
	if [ -s "$work/list" ]; then
		id=$(code "$1" | tr -d -)
		echo "<Component Id=\"C$id\" Guid=\"$(code "dirpin component $1")\" Win64=\"yes\">"
		key=' KeyPath="yes"'
		while read -r f; do
			echo "<File Id=\"F$(code "$f" | tr -d -)\" Name=\"${f##*/}\" Source=\"files/${f#./}\"$key/>"
			key=
		done <"$work/list"
		echo "</Component>"
		echo "<ComponentRef Id=\"C$id\"/>" >>"$work/references"
	fi
	for d in $(cd "$from" && find "$1" -mindepth 1 -maxdepth 1 -type d | LC_ALL=C sort); do
		echo "<Directory Id=\"D$(code "$d" | tr -d -)\" Name=\"${d##*/}\">"
		files "$d"
		echo "</Directory>"
	done
}
: >"$work/references"
files . >"$work/elements"
sed -e "s|@PRODUCT@|$(code "product $VERSION $content")|; s|@NUMBERS@|$NUMBERS|; s|@VERSION@|$VERSION|" \
	-e "/^@FILES@\$/{r $work/elements" -e 'd}' -e "/^@REFERENCES@\$/{r $work/references" -e 'd}' "$here/dirpin.wxs" >"$work/dirpin.wxs"
ln -s "$from" "$work/files" # wixl takes no absolute path
msi=$work/dirpin.msi
# The MSI notes when it was made: at the time of the commit.
at() { faketime -f "$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" '+%Y-%m-%d %H:%M:%S')" "$@"; }
(cd "$work" && at wixl -a x64 -o "$msi" dirpin.wxs)

# The folder goes into the PATH. An older version goes once the newer one stands, so
# that the service is changed and not removed; it is started after that.
tab=$(printf '\t')
cat >"$work/environment.idt" <<I
Environment${tab}Name${tab}Value${tab}Component_
s72${tab}l255${tab}L255${tab}s72
Environment${tab}Environment
Path${tab}=-*PATH${tab}[~];[INSTALLDIR]${tab}Program
I
msibuild "$msi" -i "$work/environment.idt"
# wixl does not read the version out of the program: without it, Windows goes by dates.
for step in "INSERT INTO \`InstallExecuteSequence\` (\`Action\`, \`Sequence\`) VALUES ('RemoveEnvironmentStrings', 3300)" \
	"INSERT INTO \`InstallExecuteSequence\` (\`Action\`, \`Sequence\`) VALUES ('WriteEnvironmentStrings', 5200)" \
	"INSERT INTO \`InstallExecuteSequence\` (\`Action\`, \`Sequence\`) VALUES ('InstallExecute', 6500)" \
	"UPDATE \`InstallExecuteSequence\` SET \`Sequence\` = 6501 WHERE \`Action\` = 'RemoveExistingProducts'" \
	"UPDATE \`File\` SET \`Version\` = '$NUMBERS', \`Language\` = '1033' WHERE \`File\` = 'dirpin.exe'" \
	"DELETE FROM \`MsiFileHash\` WHERE \`File_\` = 'dirpin.exe'" \
	"UPDATE \`InstallExecuteSequence\` SET \`Sequence\` = 6502 WHERE \`Action\` = 'StartService'"; do
	msibuild "$msi" -q "$step"
done
at msibuild "$msi" -s "dirpin $VERSION" "dirpin maintainers" "x64;1033" "{$(code "package $VERSION $content" | tr a-f A-F)}"
cp "$msi" "$out"
