package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// analyze runs systemd-analyze on a unit, whose program is there.
func analyze(t *testing.T, text string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: make deps")
	}
	file := filepath.Join(t.TempDir(), "dirpin.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, append(args, file)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestUnitIsSound(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{"as packaged": "", "another configuration": "/srv/it's 100% \"mine\"/$x.yaml"} {
		t.Run(name, func(t *testing.T) {
			if out := analyze(t, Unit(program, config), "verify", "--man=no"); out != "" {
				t.Errorf("systemd-analyze verify: %s", out)
			}
		})
	}
}

func TestUnitIsConfined(t *testing.T) {
	out := analyze(t, Unit(Packaged, ""), "security", "--offline=true")
	m := regexp.MustCompile(`Overall exposure level for \S+: (\S+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no level in %s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 1.5 {
		t.Errorf("exposure %s, want at most 1.5:\n%s", m[1], out)
	}
}

func TestUnit(t *testing.T) {
	packaged, err := os.ReadFile("dirpin.service")
	if err != nil {
		t.Fatal(err)
	}
	if Unit(Packaged, "") != string(packaged) {
		t.Error("the packages' unit is not what is installed")
	}
	want := `ExecStart="/opt/my dirpin/dirpin" serve --config /etc/100%%/$$x.yaml`
	if got := Unit("/opt/my dirpin/dirpin", "/etc/100%/$x.yaml"); !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(want) + "$").MatchString(got) {
		t.Errorf("no line %s in\n%s", want, got)
	}
	// In a list $ means nothing.
	if got, want := Paths([]string{"/srv/$x 1%"}), `ReadWritePaths="-/srv/$x 1%%"`+"\n"; !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(want)).MatchString(got) {
		t.Errorf("got %s, want the line %s", got, want)
	}
}
