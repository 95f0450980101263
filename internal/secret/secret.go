// Package secret holds the type of every password, PIN and key in memory. A
// Value prints as "(secret)" wherever text is made of it, so that no log,
// error, report or dump can hold one by accident.
package secret

import "log/slog"

const redacted = "(secret)"

// Value is a secret text. Only Reveal gives it away. It holds a pointer
// because fmt cannot call String on an unexported field of another struct, and
// would print the text itself.
type Value struct{ s *string }

// New makes a Value of s.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{&s}
}

// Reveal returns the secret itself.
func (v Value) Reveal() string {
	if v.s == nil {
		return ""
	}
	return *v.s
}

// IsZero tells whether there is no secret.
func (v Value) IsZero() bool { return v.s == nil }

// String returns "(secret)", or "" where there is none.
func (v Value) String() string {
	if v.s == nil {
		return ""
	}
	return redacted
}

// GoString, MarshalText and LogValue redact as String does.
func (v Value) GoString() string { return v.String() }

// MarshalText redacts JSON, YAML and XML.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// LogValue redacts the values of log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }
