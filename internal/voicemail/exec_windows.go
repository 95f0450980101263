package voicemail

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// defaultPath is empty: Windows has one for every process.
var defaultPath []string

func keepsEnv(name string) bool {
	switch strings.ToUpper(name) {
	case "PATH", "PATHEXT", "COMSPEC", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "TZ", "LANG",
		"HOME", "HOMEDRIVE", "HOMEPATH", "USERNAME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
		"PROGRAMFILES", "PROGRAMFILES(X86)", "PROGRAMW6432", "COMMONPROGRAMFILES", "PSMODULEPATH",
		"NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "OS":
		return true
	}
	return strings.HasPrefix(strings.ToUpper(name), "LC_")
}

func isNoProgram(err error) bool { return errors.Is(err, windows.ERROR_BAD_EXE_FORMAT) }

// launcher starts hooks, each in a job object that dies with us.
type launcher struct{}

func newLauncher() *launcher { return &launcher{} }

func (l *launcher) close() {}

// child is a hook that runs, and the job that holds it and its children.
type child struct {
	cmd          *exec.Cmd
	job, process windows.Handle
}

// start puts the process into its job before it runs its first instruction, so
// that no child of it escapes.
func (l *launcher) start(cmd *exec.Cmd) (child, error) {
	job, err := newJob()
	if err != nil {
		return child{}, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW,
	}
	if err := cmd.Start(); err != nil {
		windows.CloseHandle(job)
		return child{}, err
	}
	process, err := release(uint32(cmd.Process.Pid), job)
	if err != nil {
		cmd.Process.Kill()
		windows.CloseHandle(job)
		cmd.Wait()
		return child{}, err
	}
	return child{cmd, job, process}, nil
}

func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("create a job object: %w", err)
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		windows.CloseHandle(job)
		return 0, fmt.Errorf("limit a job object: %w", err)
	}
	return job, nil
}

// release puts a suspended process into the job, lets it run and returns a
// handle to wait for.
func release(pid uint32, job windows.Handle) (windows.Handle, error) {
	const access = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE | windows.SYNCHRONIZE
	process, err := windows.OpenProcess(access, false, pid)
	if err != nil {
		return 0, fmt.Errorf("open the new process: %w", err)
	}
	if err = windows.AssignProcessToJobObject(job, process); err != nil {
		err = fmt.Errorf("put the new process into its job object: %w", err)
	} else {
		err = resume(pid)
	}
	if err != nil {
		windows.CloseHandle(process)
		return 0, err
	}
	return process, nil
}

// resume finds the one thread of a process that was started suspended:
// os/exec has closed its handle.
func resume(pid uint32) error {
	threads, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	defer windows.CloseHandle(threads)
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(threads, &entry); err == nil; err = windows.Thread32Next(threads, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return fmt.Errorf("open the new process's thread: %w", err)
		}
		defer windows.CloseHandle(thread)
		if _, err := windows.ResumeThread(thread); err != nil {
			return fmt.Errorf("resume the new process: %w", err)
		}
		return nil
	}
	return fmt.Errorf("find the new process's thread: %w", err)
}

// wait returns when the hook has ended or was killed at the end of ctx; all of
// its job is gone then.
func (c child) wait(ctx context.Context) exit {
	defer windows.CloseHandle(c.process)
	defer windows.CloseHandle(c.job)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		windows.WaitForSingleObject(c.process, windows.INFINITE)
	}()
	killed := false
	select {
	case <-ended:
	case <-ctx.Done():
		killed = true
	}
	windows.TerminateJobObject(c.job, 1)
	<-ended
	c.cmd.Wait() // the state says more than its error
	return exitOf(c.cmd.ProcessState, killed)
}
