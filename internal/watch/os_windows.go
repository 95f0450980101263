package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/dirpin/dirpin/internal/acl"
)

// crlf says that texts for people have a BOM and CRLF.
const crlf = true

// openSafely is nothing here: what was opened is compared with what was seen,
// which a link is not.
const openSafely = 0

// syncFolder does nothing: Windows makes a rename durable with its file.
func syncFolder(*os.File) error { return nil }

// busy tells whether a file cannot be taken because a program has it open, which
// those that copy into a folder do until they are done.
func busy(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }

// owners are the accounts and groups that may drop files.
type owners struct {
	names    []string
	trusted  acl.Accounts
	accounts acl.Accounts
	groups   acl.Accounts // those of accounts that have members
}

// know finds out who the owners are, once: a name of a domain that is out of
// reach must not become a refusal of what they have dropped.
func (o *owners) know() error {
	if o.trusted != nil {
		return nil
	}
	trusted, err := acl.Trusted()
	if err != nil {
		return err
	}
	var accounts, groups acl.Accounts
	for _, name := range o.names {
		sid, group, err := acl.Account(name)
		if err != nil {
			return fmt.Errorf("owners: %w", err)
		}
		accounts = append(accounts, sid)
		if group {
			groups = append(groups, sid)
		}
	}
	o.trusted, o.accounts, o.groups = trusted, accounts, groups
	return nil
}

// may tells whether somebody may drop files: himself, or as a member of a group.
// The error says that it could not be found out.
func (o *owners) may(sid *windows.SID) (bool, error) {
	if o.trusted.Has(sid) || o.accounts.Has(sid) {
		return true, nil
	}
	if len(o.groups) == 0 {
		return false, nil
	}
	if _, _, use, err := sid.LookupAccount(""); err == nil && use != windows.SidTypeUser {
		return false, nil // a group is meant by its own name
	}
	member, err := acl.Groups(sid)
	if err != nil {
		return false, err
	}
	for _, g := range o.groups {
		if member.Has(g) {
			return true, nil
		}
	}
	return false, nil
}

// other returns somebody who is allowed any of what and may not drop files; nil
// where everybody may. The owner may give himself everything.
func (o *owners) other(l *acl.List, what acl.Mask) (other *windows.SID, err error) {
	may := func(sid *windows.SID) bool {
		ok, e := o.may(sid)
		err = errors.Join(err, e)
		return ok || e != nil
	}
	if !may(l.Owner) {
		return l.Owner, err
	}
	return l.Others(what, may), err
}

// dropper returns who dropped a file, where that is somebody who may and nobody
// else can have written it; a *refusal where not. With free nobody asks.
func (o *owners) dropper(f *os.File, _ fs.FileInfo, free bool) (string, error) {
	l, err := acl.Of(f)
	if err != nil {
		return "", err
	}
	name := acl.Name(l.Owner)
	if free {
		return name, nil
	}
	who, err := o.other(l, acl.Change)
	if err != nil {
		return name, err
	}
	if who != nil && who.Equals(l.Owner) {
		return name, refuse("it belongs to %s, who may not drop jobs here (owners of the watch folder: %s; add them there, or have one of these drop it)", name, strings.Join(o.names, ", "))
	}
	if who != nil {
		return name, refuse("%s can write it, who may not drop jobs here (owners: %s): take that right away, and drop it again", acl.Name(who), strings.Join(o.names, ", "))
	}
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return name, fmt.Errorf("counting its names: %w", err)
	}
	if info.NumberOfLinks != 1 {
		return name, refuse("it has another name elsewhere (a hard link): drop a copy")
	}
	return name, nil
}

// own makes a new folder within the watch folder ours alone; in those that people
// look into they may go on reading.
func (d *dir) own(name string) error {
	path := filepath.Join(d.path, name)
	if name == claimsDir {
		return acl.Mkdir(path, acl.Takes)
	}
	return acl.MkdirReadable(path, d.path)
}

// ours refuses a folder within the watch folder that another account can write
// to: it could change there what was checked.
func ours(path string, _ fs.FileInfo) error {
	l, err := acl.OfPath(path)
	if err != nil {
		return err
	}
	trusted, err := acl.Trusted()
	if err != nil {
		return err
	}
	if !trusted.Has(l.Owner) {
		return fmt.Errorf("%s belongs to %s: remove it", path, acl.Name(l.Owner))
	}
	if other := l.Others(acl.Change, trusted.Has); other != nil {
		return fmt.Errorf("%s can write into %s: take that right away, or remove the folder", acl.Name(other), path)
	}
	return nil
}

// trust refuses a folder in which others than those who may drop files can
// replace them.
func (f *Folder) trust(d *dir) error {
	folder, err := d.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	real, network, err := realPath(folder)
	if err != nil {
		return err
	}
	switch {
	case f.w.Trust == "share", network && f.w.Signers != "":
		d.free = true
		return nil
	case network:
		return fmt.Errorf("%s lies on another machine, whose word on owners cannot be relied upon: set signers, or trust: share if whoever can write there may drop jobs", d.path)
	}
	if err := f.owners.know(); err != nil {
		return err
	}
	l, err := acl.Of(folder)
	if err != nil {
		return err
	}
	if err := f.owners.judge(d.path, l, acl.Change, "write into"); err != nil {
		return err
	}
	for path := filepath.Dir(real); ; path = filepath.Dir(path) {
		l, err := acl.OfPath(path)
		if err != nil {
			return err
		}
		if err := f.owners.judge(path, l, acl.Replace, "replace what is in"); err != nil {
			return err
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// judge is what sshd calls StrictModes.
func (o *owners) judge(path string, l *acl.List, what acl.Mask, doing string) error {
	who, err := o.other(l, what)
	switch {
	case err != nil:
		return err
	case who == nil:
		return nil
	case who.Equals(l.Owner):
		return fmt.Errorf("%s belongs to %s, who is none of owners: nothing is taken from it", path, acl.Name(who))
	}
	return fmt.Errorf("%s can %s %s, and is none of owners: nothing is taken from it; take that right away, or name it under owners", acl.Name(who), doing, path)
}

// realPath returns where an open folder really is, behind every junction, and
// whether that is another machine.
func realPath(f *os.File) (path string, network bool, err error) {
	buf := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetFinalPathNameByHandle(windows.Handle(f.Fd()), &buf[0], uint32(len(buf)), 0)
	if err != nil || int(n) > len(buf) {
		return "", false, fmt.Errorf("finding out where %s is: %w", f.Name(), err)
	}
	path = windows.UTF16ToString(buf[:n])
	if strings.HasPrefix(path, `\\?\UNC\`) {
		return path, true, nil
	}
	path = strings.TrimPrefix(path, `\\?\`)
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(path) + `\`)
	if err != nil {
		return "", false, err
	}
	return path, windows.GetDriveType(root) == windows.DRIVE_REMOTE, nil
}

// signersMode refuses a file of signers that others than administrators and the
// service can write.
func signersMode(path string, _ fs.FileInfo) error {
	if err := ours(path, nil); err != nil {
		return fmt.Errorf("whoever can write the file of signers may sign: %w", err)
	}
	return nil
}

// Remove removes a file or an empty folder. Some file systems, of other makers and
// of servers, know no removal by POSIX' rules and do not say so in one of the ways
// that os.Root expects.
func (d *dir) Remove(name string) error {
	err := d.Root.Remove(name)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return err
	}
	return os.Remove(filepath.Join(d.path, name))
}

// RemoveAll removes a folder and the files in it.
func (d *dir) RemoveAll(name string) error {
	folder, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(-1)
	folder.Close()
	for _, n := range names {
		err = errors.Join(err, d.Remove(filepath.Join(name, n)))
	}
	if err != nil {
		return err
	}
	return d.Remove(name)
}
