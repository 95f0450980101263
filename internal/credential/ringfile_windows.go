package credential

import (
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func openRing(path string) (*os.File, error) { return os.Open(path) }

// checkPrivate wants that nobody but the owner, the system and the
// administrators is allowed anything in the file's access list. The mode that
// Go shows on Windows says nothing.
func checkPrivate(path string, f *os.File, _ fs.FileInfo) error {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("reading its access list: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("reading its owner: %w", err)
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("asking who runs: %w", err)
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil {
		return exposed(path, "everyone")
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return fmt.Errorf("reading its access list: %w", err)
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if sid.Equals(owner) || sid.Equals(me.User.Sid) ||
			sid.IsWellKnown(windows.WinLocalSystemSid) ||
			sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) ||
			sid.IsWellKnown(windows.WinCreatorOwnerRightsSid) {
			continue
		}
		return exposed(path, sid.String())
	}
	return nil
}

func exposed(path, who string) error {
	return fmt.Errorf(`%w: %s may use it: icacls "%s" /inheritance:r /grant:r "%%USERNAME%%":F SYSTEM:F`, ErrExposed, who, path)
}

// makePrivate gives the new file the access list of the one that it will
// replace; where there is none, a list of owner, system and administrators
// that inherits nothing from the folder.
func makePrivate(target string, f *os.File) error {
	sd, err := windows.GetNamedSecurityInfo(target, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		if sd, err = windows.SecurityDescriptorFromString("D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)"); err != nil {
			return err
		}
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(f.Name(), windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

// syncDir has nothing to do: the rename is as durable as NTFS makes it.
func syncDir(string) error { return nil }
