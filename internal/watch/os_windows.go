package watch

import (
	"errors"
	"io/fs"
	"os"
)

// crlf says that texts for people have a BOM and CRLF.
const crlf = true

const openSafely = 0

// syncFolder does nothing: Windows makes a rename durable with its file.
func syncFolder(*os.File) error { return nil }

// owners are the accounts that may drop files. Nobody asks whose files are on
// Windows yet: a folder needs signers, or trust: share.
type owners struct{ names []string }

func (o *owners) dropper(fs.FileInfo, bool) (string, error) { return "", nil }

func ours(string, fs.FileInfo) error { return nil }

func (f *Folder) trust(d *dir) error {
	if f.w.Signers == "" && f.w.Trust != "share" {
		return errors.New(d.path + ": whose files are cannot be told on Windows by this version: set signers, or trust: share if whoever can write there may drop jobs")
	}
	d.free = true
	return nil
}

func signersMode(string, fs.FileInfo) error { return nil }
