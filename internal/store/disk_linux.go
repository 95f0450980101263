package store

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// networkTypes are the file systems on which locks and a shared-memory journal
// cannot be relied upon (statfs(2)).
var networkTypes = map[int64]string{
	0x6969: "NFS", 0x517B: "SMB", 0xFF534D42: "CIFS", 0xFE534D42: "SMB2", 0x5346414F: "AFS", 0x73757245: "Coda",
}

// refuseNetwork refuses a database on a network file system: two machines
// could each believe to be alone.
func refuseNetwork(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(realFolder(path), &st); err != nil {
		return nil // opening says it better
	}
	if name := networkTypes[int64(uint32(st.Type))]; name != "" {
		return fmt.Errorf("%s lies on a network file system (%s), where its locks cannot be relied upon: move state_dir to a local disk, or use store: postgres://…", path, name)
	}
	return nil
}

func freeSpace(path string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(realFolder(path), &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

// realFolder is the folder of the real file, links resolved.
func realFolder(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Dir(path)
}
