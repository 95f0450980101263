// Command dirpin keeps a local copy of an organisation's LDAP users and resets
// their passwords and PINs in bulk, safely.
//
// Where things are:
//
//	cmd/dirpin         this program: one file a command; exit codes in exit.go
//	config             the configuration file
//	ldapsync           directory -> store
//	resetjob           job file -> report; DESIGN.md tells its crash story
//	internal/user      the words everyone shares: User, Status, Query
//	internal/outcome   the stable codes
//	internal/store     the database
//	internal/credential  hashing, policy, generation, the key ring, sealing
//	internal/voicemail the hooks that push a PIN
//	internal/strictyaml  YAML with line and column of every fault
//	internal/slapd     a private OpenLDAP server for the demo and the tests
//	docs               a page a task; architecture.md for contributors
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped by the build.
var version = "devel"

func main() {
	ctx, stop := withSignals(context.Background())
	code := execute(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// signalError is why a context that withSignals made has ended.
type signalError struct{ sig os.Signal }

func (e signalError) Error() string { return e.sig.String() }

// withSignals ends the context at the first Ctrl-C or SIGTERM, so that pushes
// in hand are settled; a second one ends the process as it stands, which loses
// nothing either.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(signalError{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}
