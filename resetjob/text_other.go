//go:build !windows

package resetjob

import (
	"fmt"
	"os"
)

// textCRLF says that texts for people have a BOM and CRLF, as Windows' own
// programs want them.
const textCRLF = false

// syncDir makes renames and new files in the folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("making %s durable: %w", path, err)
	}
	return nil
}
