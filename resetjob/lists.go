package resetjob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxListSize bounds what is read into memory for one list: thirty times a
// custom file of a million long user ids.
const maxListSize = 256 << 20

// Errors of Lists.Read that callers act upon; the rest are for people.
var (
	// ErrListMissing: there is no such file (yet). A job from the watch folder
	// may be dropped before its list, so this one is worth a second try.
	ErrListMissing = errors.New("no such file")
	// ErrListChanged: the file is not the one that the job file names by its
	// SHA-256, or was written to while it was read.
	ErrListChanged = errors.New("changed")
)

// Lists is a folder of custom files and csv files that jobs name. Nothing
// outside of the folder can be read through it.
type Lists struct {
	root *os.Root
	dir  string

	after func(step string) // called after lstat and open; tests change the file there
}

// OpenLists opens the folder. It must be closed.
func OpenLists(dir string) (*Lists, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of lists: %w", err)
	}
	return &Lists{root: root, dir: dir, after: func(string) {}}, nil
}

// Close lets go of the folder.
func (l *Lists) Close() error { return l.root.Close() }

// ListBytes is what a file of the folder held when it was read. A csv holds
// secrets, so it prints as its path and size only.
type ListBytes struct {
	Path   string // for messages
	SHA256 string // of the bytes, lower-case hex; of a short csv it gives the PINs away to who tries them all
	data   []byte
}

// Bytes returns the content.
func (b *ListBytes) Bytes() []byte { return b.data }

// Clear overwrites the content, which may be secret. Nothing that was decoded
// from it can be used afterwards.
func (b *ListBytes) Clear() {
	clear(b.data[:cap(b.data)])
	b.data = nil
}

// Format prints the path and the size whatever the verb.
func (b ListBytes) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s (%d bytes)", b.Path, len(b.data))
}

// Read returns the whole content of the file that a job names, once: what is
// decoded from it later is what was hashed. Links and anything else that is
// no regular file are refused.
func (l *Lists) Read(list *List) (*ListBytes, error) {
	path := filepath.Join(l.dir, list.Name)
	if err := checkListName(list.Name); err != nil {
		// The name comes from a job file and is not repeated in the path.
		return nil, fmt.Errorf("read a list of %s: %w", l.dir, err)
	}
	data, err := l.read(list.Name)
	if err != nil {
		return nil, fmt.Errorf("read the list %s: %w", path, err)
	}
	sum := sha256.Sum256(data)
	content := &ListBytes{Path: path, SHA256: hex.EncodeToString(sum[:]), data: data}
	if list.SHA256 != "" && list.SHA256 != content.SHA256 {
		content.Clear()
		return nil, fmt.Errorf("read the list %s: %w: its SHA-256 is not the one in the job file; put the right file there, or write the job file anew", path, ErrListChanged)
	}
	return content, nil
}

func (l *Lists) read(name string) ([]byte, error) {
	before, err := l.root.Lstat(name)
	if err != nil {
		return nil, plainListError(err)
	}
	if err := checkListFile(before); err != nil {
		return nil, err
	}
	l.after("lstat")
	// Between Lstat and OpenFile the name may become a link or a FIFO:
	// openNonblock keeps a FIFO from hanging us, SameFile sees the rest.
	f, err := l.root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, plainListError(err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(before, opened) || !opened.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it was replaced while it was opened; try again", ErrListChanged)
	}
	l.after("open")
	data, err := readListData(f, opened.Size())
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		clear(data)
		return nil, err
	}
	if after.Size() != int64(len(data)) || !after.ModTime().Equal(before.ModTime()) {
		clear(data)
		return nil, fmt.Errorf("%w: it is still being written; write it under another name and rename it when it is complete", ErrListChanged)
	}
	return data, nil
}

// readListData reads into one buffer of the right size: a buffer that grows
// would leave copies of secrets behind.
func readListData(r io.Reader, size int64) ([]byte, error) {
	data := make([]byte, size)
	n, err := io.ReadFull(r, data)
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return data[:n], nil
	}
	clear(data)
	return nil, err
}

func checkListFile(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return errors.New("it is a link; links are not followed: put the file itself there")
	case mode.IsDir():
		return errors.New("it is a folder")
	case !mode.IsRegular():
		return errors.New("it is no regular file")
	case info.Size() > maxListSize:
		return fmt.Errorf("it has %d bytes; a list may have %d (256 MiB)", info.Size(), maxListSize)
	}
	return nil
}

// plainListError drops the path of an *fs.PathError, which callers name.
func plainListError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrListMissing
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// checkListName takes bare names only, by the rules of every system at once:
// a job file that is sound on Linux is sound on Windows.
func checkListName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name == "." || name == "..":
		return errors.New("the name is a folder's, not a file's")
	case strings.ContainsAny(name, `/\`):
		return errors.New("a list is a bare name in the folder of lists, without a separator")
	case len(name) > 255:
		return errors.New("the name has more than 255 bytes")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("the name has control characters")
	case !filepath.IsLocal(name):
		return errors.New("the name means something else than a file to this system")
	}
	return nil
}
