//go:build unix

package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
)

func defaultConfig() string { return "/etc/dirpin/dirpin.yaml" }

func stack() string { return string(debug.Stack()) }

// becomeOwner makes a process of root one of the owner of the state folder.
func becomeOwner(stateDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	fi, err := os.Stat(stateDir)
	if os.IsNotExist(err) {
		return fmt.Errorf("there is no state folder %s: dirpin init makes it", stateDir)
	}
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	groups := []int{int(st.Gid)}
	if u, err := user.LookupId(strconv.Itoa(int(st.Uid))); err == nil {
		if ids, err := u.GroupIds(); err == nil {
			groups = groups[:0]
			for _, id := range ids {
				if n, err := strconv.Atoi(id); err == nil {
					groups = append(groups, n)
				}
			}
		}
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("becoming the owner of %s: %w", stateDir, err)
	}
	if err := syscall.Setgid(int(st.Gid)); err != nil {
		return fmt.Errorf("becoming the owner of %s: %w", stateDir, err)
	}
	if err := syscall.Setuid(int(st.Uid)); err != nil {
		return fmt.Errorf("becoming the owner of %s: %w", stateDir, err)
	}
	return nil
}

// ownsState tells whether dirpin runs as root or as the service does.
func ownsState(stateDir string) bool {
	fi, err := os.Stat(stateDir)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return os.Geteuid() == 0 || ok && int(st.Uid) == os.Geteuid()
}

// giveAway makes what root has made the service account's, where there is one:
// the state belongs to it, the configuration to root and is readable by it.
func giveAway(stateDir string, state []string, config string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("dirpin")
	if err != nil {
		return nil // no such account: root runs it
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	for _, p := range state {
		if err := os.Chown(p, uid, gid); err != nil {
			return err
		}
	}
	return os.Chown(config, 0, gid)
}

// makeState makes the state folder and those in it.
func makeState(dir string, folders ...string) error {
	for _, name := range append([]string{""}, folders...) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o750); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o750); err != nil {
			return err
		}
	}
	return nil
}

// createNew makes a file that is not there yet.
func createNew(path string, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
}

const runAs = "run as root or dirpin: sudo -u dirpin dirpin …"
