package acl

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/windows"
)

// Service is the name of dirpin's service, and thereby of the account that is
// its own: NT SERVICE\dirpin. Whatever account the service runs as, Windows adds
// this one to its rights.
const Service = "dirpin"

// ServiceSID returns the account of a service, which follows from its name
// (there is none to ask before it is installed).
func ServiceSID(name string) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(strings.ToUpper(name))) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	sum := sha1.Sum(b)
	sid := "S-1-5-80"
	for i := 0; i < len(sum); i += 4 {
		sid += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sum[i:]))
	}
	return sid
}

// trustedInstaller owns the folders of Windows itself.
const trustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

// Accounts are accounts and groups.
type Accounts []*windows.SID

// Has tells whether an account is one of them.
func (a Accounts) Has(sid *windows.SID) bool {
	for _, s := range a {
		if s.Equals(sid) {
			return true
		}
	}
	return false
}

// Trusted returns those from whom nothing can be kept, or need not be: the
// system, administrators, Windows' installer, dirpin's service, and whoever runs
// this process.
func Trusted() (Accounts, error) {
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("finding out which account dirpin runs as: %w", err)
	}
	all := Accounts{copySID(me.User.Sid)}
	for _, text := range []string{"S-1-5-18", "S-1-5-32-544", trustedInstaller, ServiceSID(Service)} {
		sid, err := windows.StringToSid(text)
		if err != nil {
			return nil, err
		}
		all = append(all, sid)
	}
	return all, nil
}

// Name returns what people call an account, CORP\alice; its number where it has
// no name any more.
func Name(sid *windows.SID) string {
	account, domain, _, err := sid.LookupAccount("")
	switch {
	case err != nil && sid.String() == ServiceSID(Service):
		return `NT SERVICE\` + Service
	case err != nil:
		return sid.String()
	case domain == "":
		return account
	}
	return domain + `\` + account
}

// English has the names that every installation knows whatever its language.
var english = map[string]string{
	`nt authority\system`: "S-1-5-18", `system`: "S-1-5-18", `localsystem`: "S-1-5-18",
	`builtin\administrators`: "S-1-5-32-544", `administrators`: "S-1-5-32-544",
	`builtin\users`: "S-1-5-32-545", `everyone`: "S-1-1-0", `nt authority\authenticated users`: "S-1-5-11",
	`nt service\` + Service: ServiceSID(Service),
}

// Account returns the account or group of a name, CORP\alice or S-1-5-…; a %
// before it, which marks groups elsewhere, says nothing here.
func Account(name string) (sid *windows.SID, group bool, err error) {
	name = strings.TrimPrefix(name, "%")
	if number, ok := english[strings.ToLower(name)]; ok {
		sid, err = windows.StringToSid(number)
	} else if sid, err = windows.StringToSid(name); err != nil {
		if sid, _, _, err = windows.LookupSID("", name); errors.Is(err, windows.ERROR_NONE_MAPPED) {
			return nil, false, fmt.Errorf("there is no account or group %s here", name)
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("finding out who %s is: %w", name, err)
	}
	_, _, use, err := sid.LookupAccount("")
	group = err == nil && (use == windows.SidTypeGroup || use == windows.SidTypeAlias || use == windows.SidTypeWellKnownGroup)
	return sid, group, nil
}
