package acl

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What the service may do with what is private.
const (
	// Works is everything, but to take out of a folder what was given another list,
	// or to give rights away.
	Works Mask = 0x1301bf
	// Takes is to take anything out of a folder too.
	Takes Mask = Works | fileDeleteChild
	// Reads is to read.
	Reads Mask = 0x1200a9
)

// private is an access list of the system, administrators and the service, and of
// whoever makes it where he is no administrator, that inherits nothing.
func private(service Mask, flags, more string) string {
	list := fmt.Sprintf("D:P(A;%[1]s;FA;;;SY)(A;%[1]s;FA;;;BA)(A;%[1]s;%#[2]x;;;%[3]s)%[4]s", flags, uint32(service), ServiceSID(Service), more)
	if me := ordinary(); me != "" {
		list += "(A;" + flags + ";FA;;;" + me + ")"
	}
	return list
}

// ordinary returns who runs this process where he is no administrator with an
// administrator's rights; else "".
func ordinary() string {
	administrators, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err == nil {
		if is, err := windows.Token(0).IsMember(administrators); err == nil && is {
			return ""
		}
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return ""
	}
	return me.User.Sid.String()
}

// Create makes a file that administrators and the system may use, and the service
// read. It never opens one that exists: fs.ErrExist.
func Create(path string) (*os.File, error) { return create(path, private(Reads, "", "")) }

// CreateReadable makes a file as Create does, that every user may read too.
func CreateReadable(path string) (*os.File, error) {
	return create(path, private(Reads, "", "(A;;FR;;;BU)"))
}

// CreateLike makes a file that has the access list of another.
func CreateLike(path, model string) (*os.File, error) {
	sd, err := windows.GetNamedSecurityInfo(model, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return nil, &os.PathError{Op: "read the access list of", Path: model, Err: err}
	}
	return create(path, sd.String())
}

func create(path, list string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	var h windows.Handle
	err = owned(list, func(sa *windows.SecurityAttributes) (err error) {
		h, err = windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, sa,
			windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// owned makes something that belongs to the administrators where this process may
// say so: what one of them makes must not become suspicious when another runs
// dirpin.
func owned(list string, make func(*windows.SecurityAttributes) error) error {
	var err error
	for _, owner := range []string{"O:BA", ""} {
		sd, e := windows.SecurityDescriptorFromString(owner + list)
		if e != nil {
			return fmt.Errorf("making an access list: %w", e)
		}
		err = make(&windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd})
		if !errors.Is(err, windows.ERROR_INVALID_OWNER) && !errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD) {
			return err
		}
	}
	return err
}

// Mkdir makes a folder with all of whose contents administrators and the system
// may do everything, and the service what is said. One that exists is given the
// same list.
func Mkdir(path string, service Mask) error { return mkdir(path, private(service, "OICI", "")) }

// MkdirReadable makes a folder that the service takes out of; those who may read in the folder
// that it lies in may read in it too.
func MkdirReadable(path, within string) error {
	l, err := OfPath(within)
	if err != nil {
		return err
	}
	more := ""
	for _, e := range l.entries {
		if e.what&Read != 0 {
			more += fmt.Sprintf("(A;OICI;%#x;;;%s)", uint32(Reads), e.who)
		}
	}
	return mkdir(path, private(Takes, "OICI", more))
}

func mkdir(path, list string) error {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	err = owned(list, func(sa *windows.SecurityAttributes) error { return windows.CreateDirectory(name, sa) })
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return protect(path, list)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// protect gives a folder that exists a list. Whoever made it could take it back:
// anybody may make a folder in %ProgramData%.
func protect(path, list string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no folder: remove it", path)
	}
	l, err := OfPath(path)
	if err != nil {
		return err
	}
	trusted, err := Trusted()
	if err != nil {
		return err
	}
	if !trusted.Has(l.Owner) {
		return fmt.Errorf("%s belongs to %s, who could have put anything into it: remove it", path, Name(l.Owner))
	}
	sd, err := windows.SecurityDescriptorFromString(list)
	if err != nil {
		return fmt.Errorf("making an access list: %w", err)
	}
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	if err != nil {
		return &os.PathError{Op: "set the access list of", Path: path, Err: err}
	}
	return nil
}

// Mend is the command that makes a file private as Create does.
func Mend(path string) string {
	return fmt.Sprintf(`icacls "%s" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F *%s:R`, path, ServiceSID(Service))
}

// Private says why a file is not private: whose it is, or who else may read or
// change it.
func Private(f *os.File, what Mask) error {
	l, err := Of(f)
	if err != nil {
		return err
	}
	trusted, err := Trusted()
	if err != nil {
		return err
	}
	if !trusted.Has(l.Owner) {
		return fmt.Errorf(`it belongs to %s: it must be an administrator's or the service's: icacls "%s" /setowner *S-1-5-32-544`, Name(l.Owner), f.Name())
	}
	if other := l.Others(what, trusted.Has); other != nil {
		return fmt.Errorf("its access list lets %s at it: %s", Name(other), Mend(f.Name()))
	}
	return nil
}
