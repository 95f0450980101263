//go:build unix

package watch

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// crlf says that texts for people have a BOM and CRLF.
const crlf = false

// openSafely follows no link, and does not wait for a FIFO's other end.
const openSafely = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

func syncFolder(f *os.File) error { return f.Sync() }

// owners are the accounts that may drop files.
type owners struct {
	names []string // accounts, and groups that begin with %
}

// busy is never so: what is open can be renamed.
func busy(error) bool { return false }

// own has nothing to do: a folder is made with its mode.
func (d *dir) own(string) error { return nil }

// dropper returns who dropped a file, where that is somebody who may and nobody
// else can have written it; a *refusal where not. With free nobody asks.
func (o *owners) dropper(_ *os.File, fi fs.FileInfo, free bool) (string, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "", refuse("whose it is cannot be told")
	}
	uid := strconv.FormatUint(uint64(st.Uid), 10)
	name, groups := uid, []string(nil)
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
		if slices.ContainsFunc(o.names, func(s string) bool { return strings.HasPrefix(s, "%") }) {
			groups = groupsOf(u)
		}
	}
	if free {
		return name, nil
	}
	may := slices.ContainsFunc(o.names, func(s string) bool {
		group, isGroup := strings.CutPrefix(s, "%")
		if isGroup {
			return slices.Contains(groups, group)
		}
		return s == name || s == uid
	})
	switch {
	case !may:
		return name, refuse("it belongs to %s, who may not drop jobs here (owners of the watch folder: %s; add them there, or have one of these drop it)", name, strings.Join(o.names, ", "))
	case fi.Mode().Perm()&0o022 != 0:
		return name, refuse("others than its owner can write it (mode %04o): chmod go-w, and drop it again", fi.Mode().Perm())
	case st.Nlink != 1:
		return name, refuse("it has another name elsewhere (a hard link): drop a copy")
	}
	return name, nil
}

func groupsOf(u *user.User) []string {
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var names []string
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			names = append(names, g.Name)
		}
	}
	return names
}

// ours refuses a folder within the watch folder that is another account's: it
// could change there what was checked.
func ours(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another account (uid %d): remove it", path, st.Uid)
	case fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others than the service can write into %s: chmod go-w", path)
	}
	return nil
}

// trust refuses a folder in which others than those who may drop files can
// replace them.
func (f *Folder) trust(d *dir) error {
	network, err := networkOf(d)
	if err != nil {
		return err
	}
	switch {
	case f.w.Trust == "share":
		d.free = true
		return nil
	case network != "" && f.w.Signers != "":
		d.free = true
		return nil
	case network != "":
		return fmt.Errorf("%s lies on a network file system (%s), where owners cannot be relied upon: set signers, or trust: share if whoever can write there may drop jobs", d.path, network)
	}
	fi, err := d.Lstat(".")
	if err != nil {
		return err
	}
	if err := strict(d.path, fi, f.folderOwner); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(d.path)
	if err != nil {
		return err
	}
	for path := filepath.Dir(real); ; path = filepath.Dir(path) {
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := strict(path, fi, f.folderOwner); err != nil {
			return err
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// folderOwner tells whether somebody may own a folder on the way to the files.
func (f *Folder) folderOwner(uid uint32) bool {
	if uid == 0 || int(uid) == os.Geteuid() {
		return true
	}
	id := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(id)
	return slices.Contains(f.w.Owners, id) || err == nil && slices.Contains(f.w.Owners, u.Username)
}

// strict is what sshd calls StrictModes, but that others may write into a folder
// where they cannot touch each other's files.
func strict(path string, fi fs.FileInfo, may func(uint32) bool) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	mode := fi.Mode()
	switch {
	case !may(st.Uid):
		return fmt.Errorf("%s belongs to uid %d, who is none of owners: nothing is taken from it", path, st.Uid)
	case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("everybody can write into %s (mode %04o): chmod o-w, or chmod +t", path, mode.Perm())
	case mode.Perm()&0o020 != 0 && mode&(fs.ModeSticky|fs.ModeSetgid) == 0:
		return fmt.Errorf("a group can write into %s (mode %04o): chmod g-w, or chmod +t or g+s for a folder that a group drops into", path, mode.Perm())
	}
	return nil
}

// signersMode refuses a file of signers that others than root and the service
// can write.
func signersMode(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if ok && (st.Uid != 0 && int(st.Uid) != os.Geteuid() || fi.Mode().Perm()&0o022 != 0) {
		return fmt.Errorf("%s can be written by others than root and the service: whoever can may sign", path)
	}
	return nil
}
