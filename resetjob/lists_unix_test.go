//go:build !windows

package resetjob

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListsFIFODoesNotHang(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := lists.Read(&List{Name: "fifo"})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Read hangs on a FIFO")
	}
}
