package tap

import (
	"errors"
	"fmt"
)

// What ends a connection, by errors.Is.
var (
	// ErrProtocol: the server sent what is no LDAP, or what contradicts itself.
	ErrProtocol = errors.New("the server broke the protocol")
	// ErrTooLarge: the server sent a message above the bounds of Options.
	ErrTooLarge = errors.New("the server sent more than is taken")
	// ErrIdle: the server owed an answer and sent no byte for Options.Idle.
	ErrIdle = errors.New("the server owes an answer and sent no byte")
	// ErrCut: the connection ended in the middle of a message, or while an
	// answer was owed.
	ErrCut = errors.New("the connection ended before the answer did")
)

// errPartialWrite is a fault of the library above.
var errPartialWrite = errors.New("tap: a write that holds no whole LDAP message")

// DisconnectError is a server's notice that it ends the connection (RFC 4511,
// section 4.4.1).
type DisconnectError struct {
	Code    int    // an LDAP result code: 52 is unavailable
	Message string // the server's words
}

func (e *DisconnectError) Error() string {
	return fmt.Sprintf("the server ended the connection (result code %d) %s", e.Code, e.Message)
}

// PanicError is a panic of a handler. The connection has ended with it.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic while an entry was handled: %v", e.Value)
}

// Unwrap returns the value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}
