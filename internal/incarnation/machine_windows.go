package incarnation

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// machineID is the id that Windows gave this machine when it was installed,
// else its name.
func machineID() string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err == nil {
		defer k.Close()
		if id, _, err := k.GetStringValue("MachineGuid"); err == nil && id != "" {
			return id
		}
	}
	name, _ := os.Hostname()
	return name
}

// fileID is the volume and number of a file; "" where it cannot be told.
func fileID(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d", info.VolumeSerialNumber, info.FileIndexHigh, info.FileIndexLow)
}

// syncFolder does nothing: Windows has no such call.
func syncFolder(string) error { return nil }
