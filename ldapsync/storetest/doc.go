// Package storetest holds what the tests of a store that a synchronization
// writes to have in common: a store in memory, and a suite that every store
// has to pass, this one too.
package storetest
