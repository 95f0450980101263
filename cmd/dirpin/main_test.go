package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/rogpeppe/go-internal/testscript"
)

// In tests hashing is cheap, and a process may be told to die at a step; the
// program has no way to make it so.
func TestMain(m *testing.M) {
	if os.Getenv(hashingEnv) != "real" {
		newParams = func() credential.Params { return credential.Params{Memory: 64, Time: 1, Threads: 1} }
	}
	if at := os.Getenv(dieAtEnv); at != "" {
		atStep = dieAt(at)
	}
	if n, err := strconv.ParseInt(os.Getenv(batchEnv), 10, 64); err == nil {
		batchItems = n
	}
	if file := os.Getenv(clockEnv); file != "" {
		wallClock = clockOf(file)
	}
	testscript.Main(m, map[string]func(){"dirpin": main})
}

// hashingEnv names the variable by which a benchmark asks for hashing as it is.
const hashingEnv = "DIRPIN_TEST_HASHING"

// batchEnv names the variable that says how many items a batch has.
const batchEnv = "DIRPIN_TEST_BATCH"

// clockEnv names the variable by which the test binary takes its wall clock to be
// wrong by what a file says, a duration, whenever it is asked.
const clockEnv = "DIRPIN_TEST_CLOCK"

func clockOf(file string) func() time.Time {
	return func() time.Time {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		by, err := time.ParseDuration(string(text))
		if err != nil {
			panic(err)
		}
		return time.Now().Add(by)
	}
}

// dieAtEnv names the variable by which the test binary, and nothing else, dies
// at a step of a job: "pushed:3" is the third time that it comes there.
const dieAtEnv = "DIRPIN_TEST_DIE_AT"

// dieAt returns a Step for resetjob.Env that kills the process.
func dieAt(where string) func(string) {
	name, n, _ := strings.Cut(where, ":")
	left, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		panic(dieAtEnv + "=" + where)
	}
	var count atomic.Int64
	return func(step string) {
		if step == name && count.Add(1) == left {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {}
		}
	}
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
			web, err := filepath.Abs("testdata/crash/web.py")
			if err != nil {
				return err
			}
			env.Setenv("WEB", web)
			hook, err := os.ReadFile("testdata/hook.sh")
			if err != nil {
				return err
			}
			// The one exec hook of the scripts; see there what they can make of it.
			if err := os.WriteFile(env.WorkDir+"/hook", hook, 0o755); err != nil {
				return err
			}
			return os.Chmod(env.WorkDir, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": checkCode, "mode": checkMode, "await": await, "expand": expand,
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

// await waits until a file is there, and holds a text if one is given: await
// port; await asked '^a1'.
func await(ts *testscript.TestScript, _ bool, args []string) {
	var data []byte
	for range 1000 {
		var err error
		data, err = os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && (len(args) == 1 || regexp.MustCompile("(?m)"+args[1]).Match(data)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not come: %s", strings.Join(args, " "), data)
}

// expand puts the values of variables into files: expand dirpin.yaml.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		data, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(data), ts.Getenv)), 0o644))
	}
}
