package main

import (
	"os"
	"testing"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/rogpeppe/go-internal/testscript"
)

// In tests hashing is cheap, and a process may be told to die at a step; the
// program has no way to make it so.
func TestMain(m *testing.M) {
	newParams = func() credential.Params { return credential.Params{Memory: 64, Time: 1, Threads: 1} }
	if at := os.Getenv(dieAtEnv); at != "" {
		atStep = dieAt(at)
	}
	testscript.Main(m, map[string]func(){"dirpin": main})
}

// The scripts run the real program: one file a behaviour, its comment says
// which.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DIRPIN_CONFIG", env.WorkDir+"/dirpin.yaml")
			return os.Chmod(env.WorkDir, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": checkCode, "mode": checkMode,
		},
	})
}

// checkCode runs a command and compares its exit code: code 2 dirpin check.
func checkCode(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	if got := codeOf(err); got != want {
		ts.Fatalf("exit %s, want %s", got, want)
	}
}

func checkMode(ts *testscript.TestScript, _ bool, args []string) {
	fi, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fi.Mode().Perm().String(); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
