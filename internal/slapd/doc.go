// Package slapd runs a private OpenLDAP server on loopback, with certificates
// and data of its own, for `dirpin demo` and for tests. It needs the machine's
// slapd but touches none of its configuration, and dies with the process that
// started it.
package slapd
