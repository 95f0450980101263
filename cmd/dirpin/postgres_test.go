package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dirpin/dirpin/internal/lab"
)

// The scripts run the real program with its store on a PostgreSQL server.
func TestPostgresScripts(t *testing.T) {
	server := lab.NewPostgres(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/postgres",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DIRPIN_CONFIG", env.WorkDir+"/dirpin.yaml")
			env.Setenv("STORE", server.Schema(t))
			env.Setenv("NOBODY", server.URL("nobody"))
			return os.Chmod(env.WorkDir, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": checkCode, "expand": expand},
	})
}
