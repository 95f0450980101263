package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A signal that comes before anything was done has the exit code of a signal,
// whatever was about to be done.
func TestInterruptedEarly(t *testing.T) {
	dir := t.TempDir()
	config := dir + "/dirpin.yaml"
	var out bytes.Buffer
	io := stdio{in: strings.NewReader(""), out: &out, err: &out}
	if code := execute(t.Context(), []string{"--config", config, "init", "--state-dir", dir + "/state"}, io); code != 0 {
		t.Fatal(code, out.String())
	}
	job := dir + "/job.yaml"
	if err := os.WriteFile(job, []byte("select: {query: all}\nreset: {pin: \"471108\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for sig, want := range map[syscall.Signal]int{syscall.SIGINT: exitInterrupted, syscall.SIGTERM: exitTerminated} {
		for _, args := range [][]string{{"run", job, "--yes"}, {"jobs", "cancel", "1"}, {"users", "reset", "nobody", "--pin", "--generate", "6"}} {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(signalError{sig})
			out.Reset()
			if code := execute(ctx, append([]string{"--config", config}, args...), io); code != want || !strings.Contains(out.String(), "interrupted") {
				t.Errorf("%v after %v: exit %d, want %d: %s", args, sig, code, want, out.String())
			}
		}
	}
}
