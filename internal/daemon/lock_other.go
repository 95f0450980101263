//go:build !windows

package daemon

// holderFile is where a lock's holder says who it is.
func holderFile(lock string) string { return lock }
