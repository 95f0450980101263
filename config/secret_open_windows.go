package config

import "os"

func openSecret(path string) (*os.File, error) { return openNow(path) }
