package store

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// refuseNetwork refuses a database on a network drive: two machines could each
// believe to be alone.
func refuseNetwork(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil // opening says it better
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(abs) + `\`)
	if err != nil {
		return nil
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return fmt.Errorf("%s lies on a network drive, where its locks cannot be relied upon: move state_dir to a local disk, or use store: postgres://…", path)
	}
	return nil
}

func freeSpace(path string) (int64, bool) {
	dir, err := windows.UTF16PtrFromString(filepath.Dir(path))
	if err != nil {
		return 0, false
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, nil, nil); err != nil {
		return 0, false
	}
	return int64(free), true
}

// syncFolder does nothing: Windows has no such call.
func syncFolder(string) error { return nil }
