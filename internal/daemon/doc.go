// Package daemon is what `dirpin serve` runs: it keeps the agreements
// synchronized, works on jobs, and can be killed at any instruction. Where its
// parts stand in the life of a job is told in docs/architecture.md.
//
// It calls ldapsync and resetjob, which know nothing of it; what is to be done
// stands in their tables, and whatever this package remembers by itself it finds
// out again at its next start.
package daemon
