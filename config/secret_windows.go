package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/dirpin/dirpin/internal/secret"
)

func openNow(path string) (*os.File, error) { return os.Open(path) }

// checkSecretFile refuses a file that the access list lets others read. The
// system, administrators, the file's owner and the account that dirpin runs as
// are no others.
func checkSecretFile(f *os.File, _ os.FileInfo) error {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read its access list: %w", err)
	}
	trusted, err := trustedSIDs(sd)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil {
		return errors.New("it has no access list: everyone can read it")
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return fmt.Errorf("read its access list: %w", err)
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if !containsSID(trusted, sid) {
			return fmt.Errorf("its access list lets %s at it: leave only SYSTEM, Administrators and dirpin's account", accountName(sid))
		}
	}
	return nil
}

func trustedSIDs(sd *windows.SECURITY_DESCRIPTOR) ([]*windows.SID, error) {
	owner, _, err := sd.Owner()
	if err != nil {
		return nil, fmt.Errorf("read its owner: %w", err)
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("find out the account that dirpin runs as: %w", err)
	}
	system, err := windows.CreateWellKnownSid(windows.WinLocalSystemSid)
	if err != nil {
		return nil, err
	}
	administrators, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return nil, err
	}
	if !containsSID([]*windows.SID{me.User.Sid, system, administrators}, owner) {
		return nil, fmt.Errorf("it belongs to %s: it must be an administrator's or dirpin's own", accountName(owner))
	}
	return []*windows.SID{me.User.Sid, system, administrators, owner}, nil
}

func containsSID(sids []*windows.SID, sid *windows.SID) bool {
	for _, s := range sids {
		if s.Equals(sid) {
			return true
		}
	}
	return false
}

func accountName(sid *windows.SID) string {
	account, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return sid.String()
	}
	return domain + `\` + account
}

// checkWriters leaves the folder's access list to %ProgramData% and setup.
func checkWriters(os.FileInfo) error { return nil }

// readCredential reads a file that DPAPI sealed for this machine or account,
// from %ProgramData%\dirpin\credentials.
func readCredential(name string) (secret.Value, error) {
	if !isBareName(name) {
		return secret.Value{}, errors.New("it is no bare name")
	}
	path := filepath.Join(DefaultStateDir(), "credentials", name)
	sealed, err := readSecretFile(path, func(*os.File, os.FileInfo) error { return nil })
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(sealed) == 0 {
		return secret.Value{}, errEmptySecret
	}
	in := windows.DataBlob{Size: uint32(len(sealed)), Data: &sealed[0]}
	var out windows.DataBlob
	if err := windows.CryptUnprotectData(&in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out); err != nil {
		return secret.Value{}, fmt.Errorf("open it with DPAPI: %w", err)
	}
	plain := unsafe.Slice(out.Data, out.Size)
	defer func() {
		clear(plain)
		windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data)))
	}()
	return secretText(plain)
}
