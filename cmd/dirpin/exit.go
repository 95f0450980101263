package main

import (
	"context"
	"errors"
	"fmt"
)

// The exit codes. They are an interface: scripts and the service manager
// decide by them. "restart" says whether starting again may help by itself.
const (
	exitOK          = 0
	exitSomeFailed  = 1   // done, but some users failed
	exitUsage       = 2   // usage, configuration or job file at fault; restart: no
	exitHeld        = 3   // held by a guard
	exitCouldNotRun = 4   // directory, store or hook out of reach, or its answer incomplete; restart: yes
	exitRunning     = 5   // another dirpin holds the state folder
	exitWrong       = 10  // verify: wrong, or unknown user
	exitLocked      = 11  // verify: locked
	exitExpired     = 12  // verify: expired
	exitInternal    = 70  // internal fault
	exitInterrupted = 130 // interrupted
	exitTerminated  = 143 // terminated
)

const exitHelp = `Exit codes: 0 all done; 1 done, but some users failed; 2 usage, configuration or
job file at fault; 3 held by a guard; 4 could not run (directory, store or hook
out of reach, or its answer incomplete); 5 another dirpin holds the state
folder; 70 internal fault; 130 interrupted; 143 terminated.`

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withCode gives err an exit code.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// usagef is an error of whoever typed the command or wrote the file.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode is the one place where an error becomes a code.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitCouldNotRun
}
