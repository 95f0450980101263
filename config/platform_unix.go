//go:build unix

package config

// DefaultStateDir returns the state folder of a configuration that names none.
func DefaultStateDir() string { return "/var/lib/dirpin" }

func defaultOwners() []string { return []string{"root", "dirpin"} }

// examplePath is where a file of the administrator's might be.
func examplePath(name string) string { return "/etc/dirpin/" + name }

const exampleCommand = "/usr/libexec/push-pin"
