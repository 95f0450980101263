package config

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// DefaultStateDir returns the state folder of a configuration that names none.
// Windows is asked, not the environment, which whoever starts dirpin has chosen.
func DefaultStateDir() string {
	data, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0)
	if err != nil {
		data = `C:\ProgramData`
	}
	return filepath.Join(data, "dirpin")
}

func defaultOwners() []string { return []string{`NT AUTHORITY\SYSTEM`, `BUILTIN\Administrators`} }

// examplePath is where a file of the administrator's might be.
func examplePath(name string) string { return filepath.Join(DefaultStateDir(), name) }

const exampleCommand = `C:\Program Files\dirpin\push-pin.exe`
