package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dirpin/dirpin/internal/acl"
)

func openRing(path string) (*os.File, error) { return os.Open(path) }

// checkPrivate wants that nobody but the system, the administrators and the
// service is allowed anything in the file's access list, and that it belongs to
// one of them. The mode that Go shows on Windows says nothing.
func checkPrivate(_ string, f *os.File, _ fs.FileInfo) error {
	if err := acl.Private(f, acl.Read|acl.Change); err != nil {
		return fmt.Errorf("%w: %w", ErrExposed, err)
	}
	return nil
}

// createPrivate makes the file that will replace another with the other's access
// list from its first moment; where there is none, with one that lets
// administrators and the system at it, and the service read it.
func createPrivate(target, aside string) (*os.File, error) {
	f, err := acl.CreateLike(aside, target)
	if errors.Is(err, fs.ErrNotExist) {
		return acl.Create(aside)
	}
	return f, err
}

// syncDir has nothing to do: the rename is as durable as NTFS makes it.
func syncDir(string) error { return nil }

const runAs = "run it in a prompt of an administrator"
