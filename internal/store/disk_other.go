//go:build !linux && !windows

package store

func refuseNetwork(string) error { return nil }

func freeSpace(string) (int64, bool) { return 0, false }
