package main

import (
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/acl"
)

func defaultConfig() string { return filepath.Join(config.DefaultStateDir(), "dirpin.yaml") }

func stack() string { return string(debug.Stack()) }

// becomeOwner does nothing: what an administrator makes in the state folder
// inherits its access list, by which the service may use it.
func becomeOwner(string) error { return nil }

// ownsState is true: who may not read the key file came no further.
func ownsState(string) bool { return true }

// giveAway does nothing: what init makes has its access list from the first.
func giveAway(string, []string, string) error { return nil }

// makeState makes the state folder and those in it. Nobody but administrators, the
// system and the service may look into them.
func makeState(dir string, folders ...string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := acl.Mkdir(dir, acl.Works); err != nil {
		return err
	}
	for _, name := range folders {
		if err := acl.Mkdir(filepath.Join(dir, name), acl.Takes); err != nil {
			return err
		}
	}
	return nil
}

// createNew makes a file that is not there yet: one for everybody to read, or for
// administrators and the service.
func createNew(path string, mode os.FileMode) (*os.File, error) {
	if mode&0o004 != 0 {
		return acl.CreateReadable(path)
	}
	return acl.Create(path)
}

const runAs = "run it in a prompt of an administrator"
