package resetjob

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openTestLists(t *testing.T) (*Lists, string) {
	t.Helper()
	dir := t.TempDir()
	lists, err := OpenLists(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lists.Close() })
	return lists, dir
}

func writeTestFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListsRead(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	const text = "jsmith\nadoe\n"
	writeTestFile(t, filepath.Join(dir, "night shift.txt"), text)
	sum := sha256.Sum256([]byte(text))
	want := hex.EncodeToString(sum[:])
	for _, sha := range []string{"", want} {
		got, err := lists.Read(&List{Name: "night shift.txt", SHA256: sha})
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Bytes()) != text || got.SHA256 != want {
			t.Errorf("Read = %q, %s", got.Bytes(), got.SHA256)
		}
	}
}

func TestListsReadEmpty(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	writeTestFile(t, filepath.Join(dir, "empty"), "")
	got, err := lists.Read(&List{Name: "empty"})
	if err != nil || len(got.Bytes()) != 0 {
		t.Errorf("Read = %v, %v", got, err)
	}
}

func TestListsRefuseNames(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	writeTestFile(t, filepath.Join(filepath.Dir(dir), "outside.txt"), "root\n")
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, filepath.Join(dir, "sub", "in.txt"), "jsmith\n")
	for _, name := range []string{
		"", ".", "..", "../outside.txt", "sub/in.txt", `sub\in.txt`, `..\outside.txt`, "/etc/passwd", "sub/",
		"a\x00b", "a\nb", "\xff", strings.Repeat("n", 256),
	} {
		if _, err := lists.Read(&List{Name: name}); err == nil {
			t.Errorf("Read(%q) took the name", name)
		} else if errors.Is(err, ErrListMissing) {
			t.Errorf("Read(%q) looked for the file: %v", name, err)
		}
	}
}

func TestListsMissing(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	_, err := lists.Read(&List{Name: "later.txt"})
	if !errors.Is(err, ErrListMissing) {
		t.Fatalf("got %v, want ErrListMissing", err)
	}
	if want := "read the list " + filepath.Join(dir, "later.txt") + ": no such file"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := OpenLists(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "open the folder of lists") {
		t.Errorf("OpenLists of no folder: %v", err)
	}
}

func TestListsRefuseWhatIsNoFile(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	target := filepath.Join(dir, "target.txt")
	writeTestFile(t, target, "jsmith\n")
	for name, link := range map[string]string{"inside": "target.txt", "outside": "/etc/passwd", "absolute": target, "dangling": "none"} {
		if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := lists.Read(&List{Name: name}); err == nil || !strings.Contains(err.Error(), "it is a link") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := lists.Read(&List{Name: "folder"}); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("folder: got %v", err)
	}
}

func TestListsRefuseHuge(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	path := filepath.Join(dir, "huge.txt")
	writeTestFile(t, path, "")
	if err := os.Truncate(path, maxListSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := lists.Read(&List{Name: "huge.txt"}); err == nil || !strings.Contains(err.Error(), "a list may have") {
		t.Errorf("got %v", err)
	}
}

func TestListsUnreadable(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	path := filepath.Join(dir, "closed.txt")
	writeTestFile(t, path, "jsmith\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := lists.Read(&List{Name: "closed.txt"})
	if os.Geteuid() == 0 {
		if err != nil {
			t.Errorf("root can't read: %v", err)
		}
		return
	}
	if err == nil || strings.Count(err.Error(), "closed.txt") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestListsSHA256(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	writeTestFile(t, filepath.Join(dir, "pins.csv"), "user_id,pin\njsmith,194726\n")
	got, err := lists.Read(&List{Name: "pins.csv", SHA256: strings.Repeat("0", 64)})
	if !errors.Is(err, ErrListChanged) || got != nil {
		t.Fatalf("Read = %v, %v", got, err)
	}
	// The hash of a short csv is as good as its PINs.
	sum := sha256.Sum256([]byte("user_id,pin\njsmith,194726\n"))
	if strings.Contains(err.Error(), hex.EncodeToString(sum[:])[:8]) {
		t.Errorf("the error tells the hash: %v", err)
	}
}

func TestListBytesHideContent(t *testing.T) {
	t.Parallel()
	lists, dir := openTestLists(t)
	writeTestFile(t, filepath.Join(dir, "pins.csv"), "user_id,pin\njsmith,194726\n")
	got, err := lists.Read(&List{Name: "pins.csv"})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		for _, arg := range []any{got, *got} {
			if text := fmt.Sprintf(verb, arg); strings.Contains(text, "194726") || strings.Contains(text, "49 57 52") {
				t.Errorf("%s prints %q", verb, text)
			}
		}
	}
	data := got.Bytes()
	got.Clear()
	if !bytes.Equal(data, make([]byte, len(data))) || got.Bytes() != nil {
		t.Error("Clear left the content")
	}
}
