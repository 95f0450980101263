package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/packaging/systemd"
)

// The real systemctl and systemd-sysusers work on a root of the test's own, as
// they do where no systemd runs.
func TestServiceInstall(t *testing.T) {
	for _, tool := range []string{"systemctl", "systemd-sysusers"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed: make deps")
		}
	}
	root := t.TempDir()
	if err := os.Mkdir(root+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s := &systemctl{app: &app{stdio: stdio{out: io.Discard, err: &said}, config: "/srv/dirpin/dirpin.yaml"}, root: root}
	cfg := &config.Config{StateDir: "/srv/dirpin", Log: config.Log{File: "/var/log/dirpin/dirpin.log"}, Watch: []config.Watch{{Dir: "/srv/drop box", Reports: "/srv/dirpin/reports"}}}
	read := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(root + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	missing := func(path string) {
		t.Helper()
		if _, err := os.Lstat(root + path); err == nil {
			t.Errorf("%s is there", path)
		}
	}
	const enabled = "/etc/systemd/system/multi-user.target.wants/dirpin.service"
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time changes nothing
		if err := s.install(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if got, want := read(localUnit), systemd.Unit(program, "/srv/dirpin/dirpin.yaml"); got != want {
			t.Errorf("the unit is\n%s", got)
		}
		if got := read(pathsFile); !strings.Contains(got, "ReadWritePaths=-/srv/dirpin\nReadWritePaths=\"-/srv/drop box\"\n") {
			t.Errorf("the drop-in is\n%s", got)
		}
		if _, err := os.Lstat(root + enabled); err != nil {
			t.Errorf("it does not start with the machine: %v", err)
		}
		if got := read("/etc/passwd"); strings.Count(got, "dirpin:x:") != 1 || !strings.Contains(got, ":/var/lib/dirpin:") {
			t.Errorf("the accounts are\n%s", got)
		}
	}

	t.Run("nothing elsewhere any more", func(t *testing.T) {
		if err := s.install(t.Context(), &config.Config{StateDir: "/var/lib/dirpin"}); err != nil {
			t.Fatal(err)
		}
		missing(pathsFile)
	})
	t.Run("no systemd", func(t *testing.T) {
		for _, err := range []error{s.start(t.Context(), cfg), s.stop(t.Context(), cfg), s.reload(t.Context(), cfg), s.status(t.Context(), cfg)} {
			if exitCode(err) != exitCouldNotRun || !strings.Contains(err.Error(), "no systemd runs here") {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("uninstall", func(t *testing.T) {
		if err := s.install(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if err := s.uninstall(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{localUnit, filepath.Dir(pathsFile), enabled} {
			missing(p)
		}
		if err := s.uninstall(t.Context(), nil); exitCode(err) != exitUsage {
			t.Errorf("the second time: %v", err)
		}
	})
	t.Run("the packages' unit stays theirs", func(t *testing.T) {
		if err := replaceFile(root+packagedUnits()[0], systemd.Unit(systemd.Packaged, "")); err != nil {
			t.Fatal(err)
		}
		if err := s.install(t.Context(), cfg); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "systemctl edit") {
			t.Errorf("install: %v", err)
		}
		if err := s.uninstall(t.Context(), nil); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "disable --now") {
			t.Errorf("uninstall: %v", err)
		}
		missing(localUnit)
	})
}

// What systemctl show prints on a machine with systemd 252.
func TestServiceStatus(t *testing.T) {
	running := parseState("Result=success\nMainPID=812\nExecMainStatus=0\nStatusText=2 jobs at work\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nStateChangeTimestamp=Tue 2026-11-24 16:00:00 UTC\n")
	if want := (serviceState{"dirpin", "loaded", "enabled", "active", "2026-11-24T16:00:00Z", "812", "2 jobs at work", "success", "0"}); !reflect.DeepEqual(running, want) {
		t.Errorf("got %+v", running)
	}
	for name, c := range map[string]struct{ show, want string }{
		"failed":        {"LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\nMainPID=0\nResult=exit-code\nExecMainStatus=2\nStateChangeTimestamp=T\n", "failed since T, enabled at boot\nexit-code, exit code 2: see journalctl -u dirpin -e\n"},
		"not installed": {"LoadState=not-found\nActiveState=inactive\n", "not installed: dirpin service install\n"},
	} {
		var out bytes.Buffer
		parseState(c.show).print(&out)
		if out.String() != c.want {
			t.Errorf("%s: got %q, want %q", name, out.String(), c.want)
		}
	}
}
