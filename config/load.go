package config

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/dirpin/dirpin/internal/strictyaml"
)

// Load reads the configuration file. The error of a faulty file is a
// strictyaml.Faults with all that is wrong; warnings are in the Config.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, faults := Parse(path, data)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// Parse reads a configuration that came from path, against whose folder
// relative paths resolve. It returns nil where there is a fault that is no
// mere warning.
func Parse(path string, data []byte) (*Config, strictyaml.Faults) {
	root, faults := strictyaml.Parse(path, data)
	if root == nil {
		return nil, faults
	}
	d := &decoder{Decoder: &strictyaml.Decoder{File: path}, dir: folder(path)}
	d.Add(faults...)
	cfg := d.config(root)
	cfg.Path = path
	faults = d.Faults()
	if faults.Failed() {
		return nil, faults
	}
	cfg.Warnings = faults
	return cfg, faults
}

// folder returns the folder of the configuration, "" for one of no file.
func folder(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.Dir(path)
}

var errNoFile = errors.New("it is not a regular file")

// readFile reads a regular file of bounded size that not anyone can change, and
// never waits for a pipe.
func readFile(path string) ([]byte, error) {
	f, err := openNow(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNoFile)
	}
	if err := checkWriters(f, fi); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
}
