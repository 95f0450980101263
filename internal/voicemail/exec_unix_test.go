//go:build unix

package voicemail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
)

func newCommand(t testing.TB, opt Options, command ...string) *execHook {
	t.Helper()
	conn, err := Connect(&config.Voicemail{Name: "pbx", Type: "exec", Command: command, Timeout: time.Second}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*execHook)
}

func shell(t testing.TB, script string) *execHook {
	return newCommand(t, Options{}, "/bin/sh", "-c", script)
}

func TestExecGivesTheRequestOnStdinAlone(t *testing.T) {
	dir := t.TempDir()
	a := testAttempt(t, "593817")
	h := newCommand(t, Options{Environ: []string{"PATH=/usr/bin:/bin", "HOME=/root", "LC_ALL=C", "PIN_SECRET=hunter2", "TZ=UTC", "PATHOLOGY=1"}},
		"/bin/sh", "-c", `cat >`+dir+`/stdin; tr '\0' '\n' </proc/$$/environ >`+dir+`/env; tr '\0' '\n' </proc/$$/cmdline >`+dir+`/args; pwd >`+dir+`/cwd`, "--site", "hq; rm -rf /", "$HOME")
	if got := h.Send(within(t, 20*time.Second), a); summary(got) != "answered accepted" {
		t.Fatalf("%+v", got)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read("stdin"); got != a.Body.Reveal() {
		t.Errorf("stdin %q", got)
	}
	if got := read("env"); got != "PATH=/usr/bin:/bin\nHOME=/root\nLC_ALL=C\nTZ=UTC\n" {
		t.Errorf("environment %q", got)
	}
	if got := read("args"); !strings.Contains(got, "--site\nhq; rm -rf /\n$HOME\n") || strings.Contains(got, "593817") {
		t.Errorf("arguments %q", got)
	}
	if got := read("cwd"); got != "/\n" {
		t.Errorf("folder %q", got)
	}
}

func TestExecHasAPathOfItsOwn(t *testing.T) {
	env := hookEnv([]string{"HOME=/x"})
	if len(env) != 2 || !strings.HasPrefix(env[1], "PATH=/") {
		t.Errorf("got %q", env)
	}
	if got := newCommand(t, Options{}, "true").Send(within(t, 20*time.Second), testAttempt(t, "4711")); summary(got) != "answered accepted" {
		t.Errorf("a bare name: %+v", got)
	}
}

// A request that fills the pipe, given to hooks that do not read it.
func TestExecHookNeedNotRead(t *testing.T) {
	r := testRequest("593817")
	r.User.FirstName = strings.Repeat("x", 1<<20)
	a, err := NewAttempt(r.Body())
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"at all":        "exit 65",
		"and closes it": "exec <&-; sleep 0.1; exit 65",
		"all of it":     "head -c 10 >/dev/null; exit 65",
		"but floods":    "head -c 3000000 /dev/zero | tr '\\0' 'x'; head -c 3000000 /dev/zero >&2; exit 65",
	} {
		if got := shell(t, script).Send(within(t, 20*time.Second), a); summary(got) != "answered rejected" {
			t.Errorf("does not read %s: got %+v", name, got)
		}
	}
}

func TestExecNotStarted(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct{ command, says string }{
		"missing":             {dir + "/none", "no such file"},
		"not in PATH":         {"no-such-program-of-dirpin", "PATH"},
		"not executable":      {file("plain", "#!/bin/sh\n", 0o644), "may not execute"},
		"a folder":            {dir, "may not execute"},
		"below a file":        {file("leaf", "", 0o644) + "/hook", "not a directory"},
		"no interpreter":      {file("script", "#! /no/such/python3 -u\n", 0o755), `"/no/such/python3 -u"`},
		"Windows line ends":   {file("crlf", "#!/bin/sh\r\nexit 0\r\n", 0o755), "save it with LF"},
		"neither":             {file("text", "exit 0\n", 0o755), "#!/bin/sh"},
		"empty":               {file("empty", "", 0o755), "#!/bin/sh"},
		"for another machine": {file("elf", "\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 100), 0o755), "no program for this machine"},
	} {
		got := newCommand(t, Options{}, tt.command).Send(within(t, 20*time.Second), testAttempt(t, "4711"))
		want := "not-sent denied"
		if name == "below a file" {
			want = "not-sent"
		}
		if summary(got) != want || !strings.Contains(got.Message, tt.says) || !strings.HasPrefix(got.Message, tt.command+": ") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestExecConfigurationFaults(t *testing.T) {
	for _, command := range [][]string{nil, {""}, {"./hook"}, {"hooks/push"}} {
		if _, err := Connect(&config.Voicemail{Name: "pbx", Type: "exec", Command: command, Timeout: time.Second}, Options{}); err == nil {
			t.Errorf("%q: no error", command)
		}
	}
}

func TestExecTimeoutHadPassed(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := shell(t, "touch "+marker).Send(ctx, testAttempt(t, "4711"))
	if _, err := os.Stat(marker); summary(got) != "not-sent" || err == nil {
		t.Errorf("got %+v; ran: %v", got, err == nil)
	}
}

// pids reads the process ids that a script wrote, one a line, waiting until
// there are n.
func pids(t *testing.T, path string, n int) []int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		text, _ := os.ReadFile(path)
		if fields := strings.Fields(string(text)); len(fields) >= n && strings.HasSuffix(string(text), "\n") {
			var ids []int
			for _, f := range fields {
				id, err := strconv.Atoi(f)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			return ids
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q", path, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// gone waits until a process is dead: reaped, or a zombie whose new parent has
// not looked yet.
func gone(pid int) bool {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	return false
}

func TestExecTimeoutKillsTheWholeGroup(t *testing.T) {
	list := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf(`trap '' TERM INT HUP; (trap '' TERM; sleep 600) & echo $! >>%[1]s; sh -c 'sleep 601 & echo $! >>%[1]s; wait' & echo $! >>%[1]s; echo $$ >>%[1]s; wait`, list)
	started := time.Now()
	got := shell(t, script).Send(within(t, time.Second), testAttempt(t, "4711"))
	if summary(got) != "lost" || !strings.Contains(got.Message, "timeout") {
		t.Errorf("got %+v", got)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	for _, pid := range pids(t, list, 4) {
		if !gone(pid) {
			t.Errorf("process %d lives on", pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// A hook that ends while children hold its pipes is not waited for.
func TestExecChildThatHoldsThePipes(t *testing.T) {
	list := filepath.Join(t.TempDir(), "pids")
	t.Run("in the group", func(t *testing.T) {
		started := time.Now()
		got := shell(t, "sleep 600 & echo $! >>"+list+`; echo '{"result":"rejected"}'; exit 3`).Send(within(t, 20*time.Second), testAttempt(t, "4711"))
		if took := time.Since(started); summary(got) != "answered rejected" || took > 5*time.Second {
			t.Errorf("after %v: %+v", took, got)
		}
		if pid := pids(t, list, 1)[0]; !gone(pid) {
			t.Error("what it left behind lives on")
		}
	})
	t.Run("out of it", func(t *testing.T) {
		escaped := filepath.Join(t.TempDir(), "pid")
		started := time.Now()
		got := shell(t, "setsid sh -c 'echo $$ >"+escaped+"; exec sleep 600' & while [ ! -s "+escaped+` ]; do :; done; echo '{"result":"rejected"}'`).Send(within(t, 20*time.Second), testAttempt(t, "4711"))
		if took := time.Since(started); summary(got) != "answered rejected" || took > 10*time.Second {
			t.Errorf("after %v: %+v", took, got)
		}
		syscall.Kill(pids(t, escaped, 1)[0], syscall.SIGKILL)
	})
}

func TestExecSignals(t *testing.T) {
	for _, signal := range []string{"KILL", "SEGV", "TERM", "PIPE"} {
		got := shell(t, `echo '{"result":"accepted"}'; kill -`+signal+` $$`).Send(within(t, 20*time.Second), testAttempt(t, "4711"))
		if summary(got) != "lost" || !strings.Contains(got.Message, "signal") {
			t.Errorf("%s: got %+v", signal, got)
		}
	}
}

func TestExecManyAtOnce(t *testing.T) {
	h := shell(t, `read -r line; case $line in *593817*) exit 65;; esac; exit 77`)
	done := make(chan Answer)
	for range 16 {
		go func() { done <- h.Send(within(t, 30*time.Second), testAttempt(t, "593817")) }()
	}
	for range 16 {
		if got := <-done; summary(got) != "answered rejected" {
			t.Errorf("got %+v", got)
		}
	}
}

func TestExecClosed(t *testing.T) {
	h := shell(t, "exit 0")
	h.Close()
	h.Close()
	got := h.Send(within(t, 10*time.Second), Attempt{RequestID: ownID, Body: secret.New("{}")})
	if got.Class == Lost {
		t.Errorf("got %+v", got)
	}
}
