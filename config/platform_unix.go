//go:build unix

package config

// DefaultStateDir returns the state folder of a configuration that names none.
func DefaultStateDir() string { return "/var/lib/dirpin" }

func defaultOwners() []string { return []string{"root", "dirpin"} }
