package voicemail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// notStarted says why a command did not start. What its file causes is a
// denial: it fails every user alike until an administrator mends it.
func notStarted(command string, err error) Answer {
	a := Answer{Class: NotSent, Result: Denied}
	var why string
	switch {
	case errors.Is(err, exec.ErrNotFound):
		why = "it is in no folder of PATH"
	case errors.Is(err, fs.ErrNotExist):
		why = missing(command)
	case errors.Is(err, fs.ErrPermission):
		why = "dirpin's account may not execute it; see the permissions of it and of its folders, and whether its file system is mounted noexec"
	case isNoProgram(err):
		why = "it is no program for this machine; a script needs a first line such as #!/bin/sh"
	default:
		a.Result = ""
		why = shorten(oneLine(err.Error()), maxWords)
	}
	a.Message = fmt.Sprintf("%s: not started: %s", command, why)
	return a
}

// missing tells a missing file from a script whose interpreter is missing, for
// which the system has the same error.
func missing(command string) string {
	f, err := os.Open(command)
	if err != nil {
		return "there is no such file"
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	interpreter, isScript := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "#!")
	switch {
	case !isScript:
		return "the file is there, but the loader or library that it needs is not"
	case strings.HasSuffix(interpreter, "\r"):
		return fmt.Sprintf("its lines end as on Windows, so that its interpreter is read as %q: save it with LF alone", strings.TrimSpace(interpreter)+"\r")
	}
	return fmt.Sprintf("the interpreter of its first line, %q, does not exist", strings.TrimSpace(interpreter))
}
