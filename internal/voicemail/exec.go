package voicemail

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
)

// pipesWait is how long an ended hook's pipes are read on when a process that
// left its group holds them open.
const pipesWait = time.Second

// dyingTime is how long a killed process may take to be gone.
const dyingTime = 5 * time.Second

// execHook runs a command for each request.
type execHook struct {
	command  []string
	env      []string
	launcher *launcher
}

func newExecHook(cfg *config.Voicemail, opt Options) (*execHook, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return nil, errors.New("read its command: it is empty; name the program and its arguments as a list")
	}
	if name := cfg.Command[0]; !filepath.IsAbs(name) && filepath.Base(name) != name {
		return nil, errors.New("read its command: the program must be an absolute path, or a bare name that is looked up in PATH")
	}
	return &execHook{command: slices.Clone(cfg.Command), env: hookEnv(opt.Environ), launcher: newLauncher()}, nil
}

// hookEnv keeps the variables without which programs behave oddly. The others
// stay here: a configuration may take secrets from the environment.
func hookEnv(environ []string) []string {
	env := []string{}
	hasPath := false
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if keepsEnv(name) {
			env = append(env, v)
			hasPath = hasPath || strings.EqualFold(name, "PATH")
		}
	}
	if !hasPath {
		env = append(env, defaultPath...)
	}
	return env
}

// Close is called when no request is under way.
func (e *execHook) Close() error {
	e.launcher.close()
	return nil
}

// Send runs the command once.
func (e *execHook) Send(ctx context.Context, a Attempt) Answer {
	cmd := exec.Command(e.command[0], e.command[1:]...)
	if cmd.Err == nil {
		cmd.Dir = filepath.VolumeName(cmd.Path) + string(filepath.Separator)
	}
	cmd.Env = e.env
	cmd.Stdin = strings.NewReader(a.Body.Reveal())
	var stdout, stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = pipesWait
	if ctx.Err() != nil {
		return Answer{Class: NotSent, Message: e.command[0] + ": not started: the timeout had passed"}
	}
	child, err := e.launcher.start(cmd)
	if err != nil {
		return notStarted(e.command[0], err)
	}
	end := child.wait(ctx)
	return ended{exit: end, stdout: &stdout, stderr: &stderr}.judge(e.command[0], a.RequestID, newMask(a.pin))
}

// exit is how a process ended.
type exit struct {
	killed   bool // by us, at the timeout
	stuck    bool // and did not even die of that; its output is still being written
	signaled bool
	code     int
}

func exitOf(state *os.ProcessState, killed bool) exit {
	if state == nil {
		return exit{killed: killed, signaled: true}
	}
	return exit{killed: killed, signaled: !state.Exited(), code: state.ExitCode()}
}

const maxLine = 64 << 10

// tail takes any amount of output and keeps its last line.
type tail struct {
	line []byte // under way
	last []byte // the last one that was not blank
	long bool   // line was cut at maxLine
	over bool   // last was
}

// Write never fails: a hook must not be hindered by what it prints.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			t.add(p)
			return n, nil
		}
		t.add(p[:end])
		t.finish()
		p = p[end+1:]
	}
}

func (t *tail) add(p []byte) {
	room := maxLine - len(t.line)
	if len(p) > room {
		p, t.long = p[:room], true
	}
	t.line = append(t.line, p...)
}

func (t *tail) finish() {
	if len(bytes.TrimSpace(t.line)) > 0 {
		t.last, t.line = t.line, t.last
		t.over = t.long
	}
	t.line, t.long = t.line[:0], false
}

// lastLine is asked when all was written.
func (t *tail) lastLine() (line []byte, whole bool) {
	t.finish()
	return bytes.TrimSpace(t.last), !t.over
}
