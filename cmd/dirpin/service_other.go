//go:build !linux && !windows

package main

import "github.com/spf13/cobra"

// serviceCommands are there where systemd or Windows may be.
func serviceCommands(*app) []*cobra.Command { return nil }
