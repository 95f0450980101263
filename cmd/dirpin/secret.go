package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dirpin/dirpin/internal/secret"
	"golang.org/x/term"
)

const maxSecret = 4096

// readSecret reads a secret from stdin, or from a hidden prompt on a terminal.
// One line end behind it is not part of it.
func (a *app) readSecret(prompt string) (secret.Value, error) {
	var data []byte
	var err error
	if f, ok := a.in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(a.err, prompt)
		data, err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.err)
	} else {
		data, err = io.ReadAll(io.LimitReader(a.in, maxSecret+1))
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the value from stdin: %w", err)
	}
	defer clear(data)
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	switch {
	case len(data) == 0:
		return secret.Value{}, usagef("the value on stdin is empty")
	case len(data) > maxSecret:
		return secret.Value{}, usagef("the value on stdin is longer than %d bytes", maxSecret)
	case bytes.ContainsAny(data, "\n\r\x00"):
		return secret.Value{}, usagef("the value on stdin has more than one line")
	}
	return secret.New(string(data)), nil
}

// recipient returns for whom a value is sealed: --to, or seal.pub beside the
// configuration, which everybody may read.
func (a *app) recipient(to string) (string, error) {
	if to != "" {
		return to, nil
	}
	path := sealPub(a.configPath())
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", usagef("there is no %s: dirpin keys public prints the recipient, name it with --to", path)
	}
	if err != nil {
		return "", withCode(exitUsage, err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	return "", usagef("%s holds no recipient: dirpin keys public prints it", path)
}

func sealPub(configPath string) string { return filepath.Join(filepath.Dir(configPath), "seal.pub") }
