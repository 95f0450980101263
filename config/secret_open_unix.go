//go:build unix

package config

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// openSecret opens the file of a secret. The usual mistake is root's file that
// the service may not read.
func openSecret(path string) (*os.File, error) {
	f, err := openNow(path)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: %s", reason(err), give(path))
	}
	return f, err
}

// give says how a secret file becomes the account's and nobody else's.
func give(path string) string {
	account := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(account); err == nil {
		account = u.Username
	}
	return fmt.Sprintf("chown %s %s && chmod 600 %[2]s", account, path)
}
