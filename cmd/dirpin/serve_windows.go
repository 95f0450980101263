package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dirpin/dirpin/internal/winservice"
)

// serveFlags adds the flag by which the service manager starts the service.
func serveFlags(cmd *cobra.Command) {
	cmd.Flags().Bool(asService, false, "answer the service manager, which has started this")
	cmd.Flags().MarkHidden(asService)
}

const asService = "service"

// supervise has serve run as the service manager wants it, where that has started
// it; elsewhere in the foreground, where nobody can ask for a reload.
func supervise(cmd *cobra.Command, serve func(context.Context, supervisor) error) error {
	if is, err := cmd.Flags().GetBool(asService); err != nil || !is {
		return errors.Join(err, serve(cmd.Context(), supervisor{}))
	}
	events, err := winservice.OpenEventLog()
	if err != nil {
		return err
	}
	defer events.Close()
	return serviceError(winservice.Program{
		// What only an administrator can mend is not tried again.
		Again: func(code int) bool { return code != exitUsage },
		Work: func(ctx context.Context, ready func(), reload <-chan struct{}) (code int) {
			defer func() {
				if p := recover(); p != nil {
					code = exitInternal
					events.Report(slog.LevelError, winservice.Fault, fmt.Sprintf("internal fault: %v\n%s\nPlease report this, with the version: dirpin %s", p, debug.Stack(), version))
				}
			}()
			err := serve(ctx, supervisor{reload: reload, ready: ready, log: events.Handler})
			code = exitCode(err)
			if err != nil {
				events.Report(slog.LevelError, winservice.CannotRun, fmt.Sprintf("the service ends (exit code %d): %v", code, err))
			}
			return code
		},
	}.Run(cmd.Context()))
}
