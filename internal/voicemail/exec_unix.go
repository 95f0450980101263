//go:build unix

package voicemail

import (
	"errors"
	"strings"
	"syscall"
)

var defaultPath = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

func keepsEnv(name string) bool {
	switch name {
	case "PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

func isNoProgram(err error) bool { return errors.Is(err, syscall.ENOEXEC) }
