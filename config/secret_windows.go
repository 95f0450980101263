package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/dirpin/dirpin/internal/acl"
	"github.com/dirpin/dirpin/internal/secret"
)

func openNow(path string) (*os.File, error) { return os.Open(path) }

// checkSecretFile refuses a file that the access list lets others read or change
// than the system, administrators, the service and whoever runs dirpin.
func checkSecretFile(f *os.File, _ os.FileInfo) error { return acl.Private(f, acl.Read|acl.Change) }

// checkWriters refuses a configuration that others can change: it names commands
// to run.
func checkWriters(f *os.File, _ os.FileInfo) error { return acl.Private(f, acl.Change) }

func credentialFile(name string) (string, error) {
	if !isBareName(name) {
		return "", errors.New("it is no bare name")
	}
	return filepath.Join(DefaultStateDir(), "credentials", name), nil
}

// readCredential reads a file that WriteCredential has made. Whoever may read it
// on this machine can open it, so that its access list counts as that of a plain
// file does; a copy of it on another machine says nothing.
func readCredential(name string) (secret.Value, error) {
	path, err := credentialFile(name)
	if err != nil {
		return secret.Value{}, err
	}
	sealed, err := readSecretFile(path, checkSecretFile)
	if errors.Is(err, os.ErrNotExist) {
		return secret.Value{}, fmt.Errorf("there is no %s: dirpin service credential %s makes it", path, name)
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(sealed) == 0 {
		return secret.Value{}, errEmptySecret
	}
	var out windows.DataBlob
	if err := windows.CryptUnprotectData(blob(sealed), nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out); err != nil {
		return secret.Value{}, fmt.Errorf("open %s with DPAPI: %w: was it made on this machine? dirpin service credential %s makes it anew", path, err, name)
	}
	plain, free := fromBlob(out)
	defer free()
	return secretText(plain)
}

// WriteCredential keeps a secret for {credential: NAME}, sealed by DPAPI for this
// machine, where administrators and the service alone can read it. It returns the
// file; one of the same name is replaced.
func WriteCredential(name string, v secret.Value) (path string, err error) {
	if path, err = credentialFile(name); err != nil {
		return "", err
	}
	if _, err := os.Lstat(DefaultStateDir()); errors.Is(err, os.ErrNotExist) {
		if err := acl.Mkdir(DefaultStateDir(), acl.Works); err != nil {
			return "", err
		}
	}
	if err := acl.Mkdir(filepath.Dir(path), acl.Reads); err != nil {
		return "", err
	}
	text := []byte(v.Reveal())
	defer clear(text)
	if len(text) == 0 {
		return "", errEmptySecret
	}
	var out windows.DataBlob
	if err := windows.CryptProtectData(blob(text), nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN|windows.CRYPTPROTECT_LOCAL_MACHINE, &out); err != nil {
		return "", fmt.Errorf("seal it with DPAPI: %w", err)
	}
	sealed, free := fromBlob(out)
	defer free()
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, os.ErrNotExist) { // of a run that was cut
		return "", err
	}
	f, err := acl.Create(aside)
	if err != nil {
		return "", err
	}
	_, err = f.Write(sealed)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(aside))
	}
	return path, nil
}

func blob(data []byte) *windows.DataBlob {
	return &windows.DataBlob{Size: uint32(len(data)), Data: &data[0]}
}

// fromBlob returns what Windows has allocated, and what clears and frees it.
func fromBlob(b windows.DataBlob) (data []byte, free func()) {
	data = unsafe.Slice(b.Data, b.Size)
	return data, func() {
		clear(data)
		windows.LocalFree(windows.Handle(unsafe.Pointer(b.Data)))
	}
}
