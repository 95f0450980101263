// Package hooks holds the tests of the example hooks, each of which is a program
// of its own with a README.
package hooks
