package ldapsync

import "errors"

// What an error of this package means to whoever called, by errors.Is.
var (
	// ErrConfig: the agreement is configured so that nothing can or may be
	// done. Nobody was changed.
	ErrConfig = errors.New("the configuration of the agreement is at fault")
	// ErrDirectory: the directory is out of reach, refuses, or gave an answer
	// that is not complete. Nobody lost anything.
	ErrDirectory = errors.New("the directory gave no complete answer")
	// ErrBusy: another synchronization of the agreement runs.
	ErrBusy = errors.New("another synchronization of the agreement is running")
)

// classed is an error of one of the classes above; its text is its own.
type classed struct {
	class error
	err   error
}

func (e *classed) Error() string   { return e.err.Error() }
func (e *classed) Unwrap() []error { return []error{e.class, e.err} }

func configError(err error) error    { return &classed{ErrConfig, err} }
func directoryError(err error) error { return &classed{ErrDirectory, err} }

// Refused tells whether the server has answered and refused us, the account
// that dirpin binds as: asking again would be refused again, and lock it.
func Refused(err error) bool { return errors.As(err, new(refused)) }
