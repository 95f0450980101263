//go:build !man

package main

import "github.com/spf13/cobra"

// buildCommands are none in the program that is shipped; see man.go.
func buildCommands(*app) []*cobra.Command { return nil }
