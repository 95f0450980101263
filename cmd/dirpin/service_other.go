//go:build !linux

package main

import "github.com/spf13/cobra"

// serviceCommands are there where systemd may be.
func serviceCommands(*app) []*cobra.Command { return nil }
