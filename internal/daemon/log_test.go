package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

// Loggers that were made before follow where the log goes, with all that they
// carry.
func TestOutputFollows(t *testing.T) {
	var stderr bytes.Buffer
	o, err := newOutput(&stderr, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	log := o.logger().With("agreement", "corp").WithGroup("g").With("a", 1)
	log.Info("one")
	log.Debug("not at this level")
	if got := stderr.String(); !strings.Contains(got, "msg=one agreement=corp g.a=1") || strings.Contains(got, "level=DEBUG") {
		t.Error(got)
	}
	path := filepath.Join(t.TempDir(), "log")
	c := config.Log{Level: "debug", Format: "json", File: path}
	if err := o.set(c); err != nil {
		t.Fatal(err)
	}
	log.Debug("two", "b", 2)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	if err := o.set(c); err != nil {
		t.Fatal(err)
	}
	log.Info("four")
	if err := o.set(config.Log{Level: "info", Format: "text", File: filepath.Join(path, "no", "folder")}); err == nil {
		t.Error("a file that cannot be opened was taken up")
	}
	log.Debug("five")
	old, err := os.ReadFile(path + ".1")
	if err != nil || bytes.Count(old, []byte("\n")) != 2 {
		t.Errorf("%v %s", err, old)
	}
	var line struct {
		Msg, Agreement string
		G              struct{ A, B int }
	}
	if err := json.Unmarshal(bytes.SplitAfter(old, []byte("\n"))[0], &line); err != nil || line.Msg != "two" || line.Agreement != "corp" || line.G.A != 1 || line.G.B != 2 {
		t.Errorf("%v: %+v", err, line)
	}
	if now, _ := os.ReadFile(path); bytes.Count(now, []byte("\n")) != 2 || !bytes.Contains(now, []byte("five")) {
		t.Errorf("the new file has %q", now)
	}
	if strings.Contains(stderr.String(), "two") {
		t.Error("it went to stderr as well")
	}
}

// The command line's level stands above the configuration's.
func TestOutputLevelOfTheCommandLine(t *testing.T) {
	var stderr bytes.Buffer
	o, err := newOutput(&stderr, nil, "error")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.set(config.Log{Level: "debug", Format: "text"}); err != nil {
		t.Fatal(err)
	}
	o.logger().Warn("no")
	o.logger().Error("yes")
	if got := stderr.String(); strings.Contains(got, "msg=no") || !strings.Contains(got, "msg=yes") {
		t.Error(got)
	}
}

// The journal gets the fields by its own names (systemd.journal-fields(7)).
func TestOutputToTheJournal(t *testing.T) {
	const path = "/run/systemd/journal/socket"
	if _, err := os.Stat(path); err == nil || os.Geteuid() != 0 {
		t.Skip("there is a journal, or no right to stand in for it")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o, err := newOutput(&bytes.Buffer{}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.set(config.Log{Level: "info", Format: "journald"}); err != nil {
		t.Fatal(err)
	}
	o.logger().With("agreement", "corp").Warn("the job\nis held", "job", 57, slog.Group("the", "user-id", "anna"))
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	got := string(buf[:n])
	for _, want := range []string{"PRIORITY=4\n", "AGREEMENT=corp\n", "JOB=57\n", "the job\nis held\n", "USER_ID=anna\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// A loop that is silent for longer than it may is named.
func TestPulses(t *testing.T) {
	p := newPulses()
	a := p.start("a", time.Hour)
	b := p.start("b", time.Minute)
	if name, _ := p.silent(); name != "" {
		t.Errorf("%s hangs", name)
	}
	b.last = b.last.Add(-2 * time.Minute)
	if name, since := p.silent(); name != "b" || since < 2*time.Minute {
		t.Errorf("%s hangs for %s", name, since)
	}
	b.beat()
	a.last = a.last.Add(-time.Minute)
	if name, _ := p.silent(); name != "" {
		t.Errorf("%s hangs", name)
	}
	b.last = b.last.Add(-2 * time.Minute)
	b.stop()
	if name, _ := p.silent(); name != "" {
		t.Errorf("%s is over", name)
	}
}

func newTestLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
