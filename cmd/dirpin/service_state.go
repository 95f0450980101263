package main

// serviceState is what the service manager knows of the service, in systemd's
// words wherever it is.
type serviceState struct {
	Service string `json:"service"`
	Loaded  string `json:"loaded"`  // loaded, not-found, masked, …
	Enabled string `json:"enabled"` // enabled, disabled, …
	Active  string `json:"active"`  // active, reloading, inactive, failed, activating, deactivating
	Since   string `json:"since"`   // Windows does not tell
	PID     string `json:"pid"`
	Status  string `json:"status"` // what it says that it does; nothing on Windows
	Result  string `json:"result"` // success, exit-code, watchdog, …
	Code    string `json:"exit_code"`
}
