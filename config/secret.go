package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

// maxSecret bounds the file of a secret in bytes.
const maxSecret = 64 << 10

// IsZero tells whether there is no secret, not even a reference to one.
func (s Secret) IsZero() bool { return s == Secret{} }

// String says what kind of reference it is and to what, never a secret.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case s.Credential != "":
		return "credential " + s.Credential
	case s.Sealed != "":
		return "sealed value"
	}
	return s.Plain.String()
}

// GoString is String, for a dump with %#v.
func (s Secret) GoString() string { return s.String() }

// Resolve reads the secret. Sealed ones are opened with open, the key ring's;
// without it they are an error.
func (s Secret) Resolve(open func(sealed string) (secret.Value, error)) (secret.Value, error) {
	switch {
	case s.File != "":
		v, err := secretFile(s.File, checkSecretFile)
		return named(v, "read the secret file "+s.File, err)
	case s.Env != "":
		v, err := secretEnv(s.Env)
		return named(v, "read the secret from the environment variable "+s.Env, err)
	case s.Credential != "":
		v, err := readCredential(s.Credential)
		return named(v, "read the credential "+s.Credential, err)
	case s.Sealed != "" && open == nil:
		return secret.Value{}, errors.New("open a sealed secret: the key ring is needed and was not read: is key_file right?")
	case s.Sealed != "":
		v, err := open(s.Sealed)
		return named(v, "open a sealed secret", err)
	}
	return s.Plain, nil
}

func named(v secret.Value, doing string, err error) (secret.Value, error) {
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", doing, err)
	}
	return v, nil
}

var (
	errEmptySecret = errors.New("it is empty")
	errLargeSecret = fmt.Errorf("it is larger than %d KiB", maxSecret>>10)
	errSecretText  = errors.New("it is no text in UTF-8")
)

func secretEnv(name string) (secret.Value, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return secret.Value{}, errors.New("it is not set")
	}
	if text == "" {
		return secret.Value{}, errEmptySecret
	}
	return secret.New(text), nil
}

// secretFile reads a secret from a file that check has judged by what was
// opened, so that nobody can swap it in between. The line end that editors
// add does not belong to the secret.
func secretFile(path string, check func(*os.File, os.FileInfo) error) (secret.Value, error) {
	data, err := readSecretFile(path, check)
	if err != nil {
		return secret.Value{}, err
	}
	return secretText(data)
}

func readSecretFile(path string, check func(*os.File, os.FileInfo) error) ([]byte, error) {
	f, err := openSecret(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if !fi.Mode().IsRegular() {
		return nil, errNoFile
	}
	if err := check(f, fi); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(data) > maxSecret {
		return nil, errLargeSecret
	}
	return data, nil
}

func secretText(data []byte) (secret.Value, error) {
	text, faults := strictyaml.DecodeText("", data)
	if len(faults) > 0 {
		return secret.Value{}, errSecretText
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return secret.Value{}, errEmptySecret
	}
	return secret.New(text), nil
}

// reason drops the path from the error of a file operation: it is said once.
func reason(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// secret reads a secret or a reference to one.
func (d *decoder) secret(n *strictyaml.Node, s *Secret) {
	if n == nil {
		return
	}
	if n.Kind != strictyaml.Mapping {
		if text, ok := d.Text(n); ok {
			*s = Secret{Plain: secret.New(text)}
			d.Warn(n, "a plain secret in the configuration: better {file: PATH}, {credential: NAME} or {sealed: …}")
		}
		return
	}
	m := d.Mapping(n, "file", "env", "credential", "sealed")
	if len(n.Pairs) != 1 {
		d.Fault(n, "a secret is exactly one of {file: PATH}, {env: NAME}, {credential: NAME} and {sealed: …}")
		return
	}
	*s = Secret{}
	d.path(m.Get("file"), &s.File)
	if env := m.Get("env"); d.text(env, &s.Env) && strings.ContainsAny(s.Env, "=\x00") {
		d.Fault(env, "env: the name of an environment variable is needed")
	}
	if name := m.Get("credential"); d.text(name, &s.Credential) && !isBareName(s.Credential) {
		d.Fault(name, "credential: a bare name is needed, without a path")
	}
	d.text(m.Get("sealed"), &s.Sealed)
}

func isBareName(name string) bool {
	return name != "." && name != ".." && !strings.ContainsAny(name, `/\:`) && filepath.IsLocal(name)
}
