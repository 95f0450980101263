package config

import (
	"os"
	"path/filepath"
)

// DefaultStateDir returns the state folder of a configuration that names none.
func DefaultStateDir() string { return filepath.Join(os.Getenv("ProgramData"), "dirpin") }

func defaultOwners() []string { return []string{`NT AUTHORITY\SYSTEM`, `BUILTIN\Administrators`} }
