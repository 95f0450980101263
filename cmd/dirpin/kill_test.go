package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

func codeOf(err error) string {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return strconv.Itoa(e.ExitCode())
	}
	if err != nil {
		return err.Error()
	}
	return "0"
}

// home is an installation in a folder of its own, with an exec hook that
// journals every request that it accepts.
type home struct {
	testing.TB
	dir string
	out bytes.Buffer // everything that was printed
	env []string     // of every process, besides this one's
}

func newHome(t *testing.T, hook string) *home {
	h := &home{TB: t, dir: t.TempDir()}
	h.write("hook.sh", "#!/bin/sh\nreq=$(cat)\n"+hook+"\nprintf '%s\\n' \"$req\" >>"+h.dir+"/journal\n", 0o755)
	h.write("dirpin.yaml", "state_dir: "+h.dir+"/state\nvoicemail: {name: vm, type: exec, command: ["+h.dir+"/hook.sh]}\n", 0o644)
	h.write("init.yaml", "", 0o644)
	os.Remove(filepath.Join(h.dir, "init.yaml"))
	if _, err := h.dirpin("", "--config", h.dir+"/init.yaml", "init", "--state-dir", h.dir+"/state"); err != nil {
		t.Fatal(err, h.out.String())
	}
	return h
}

func (h *home) write(name, text string, mode fs.FileMode) {
	h.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), mode); err != nil {
		h.Fatal(err)
	}
}

func (h *home) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "dirpin"
	cmd.Path = h.program()
	cmd.Dir = h.dir
	cmd.Env = slices.Concat(os.Environ(), h.env, []string{"DIRPIN_CONFIG=" + h.dir + "/dirpin.yaml"})
	return cmd
}

// program is what testscript.Main has put in the PATH.
func (h *home) program() string {
	p, err := exec.LookPath("dirpin")
	if err != nil {
		h.Fatal(err)
	}
	return p
}

func (h *home) dirpin(stdin string, args ...string) (string, error) {
	cmd := h.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	h.out.Write(out.Bytes())
	return out.String(), err
}

func (h *home) users(n int) {
	h.Helper()
	var b strings.Builder
	b.WriteString("user_id,last_name\n")
	for i := range n {
		fmt.Fprintf(&b, "w%d,Meier\n", i)
	}
	h.write("users.csv", b.String(), 0o644)
	if out, err := h.dirpin("", "users", "import", "users.csv"); err != nil {
		h.Fatal(err, out)
	}
}

// accepted returns the PINs that the hook has accepted, by user, oldest first,
// and the request ids.
func (h *home) accepted() (pins, ids map[string][]string) {
	h.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "journal"))
	if err != nil {
		h.Fatal(err)
	}
	pins, ids = map[string][]string{}, map[string][]string{}
	for line := range strings.Lines(string(data)) {
		var r struct {
			RequestID string `json:"request_id"`
			PIN       string `json:"pin"`
			User      struct {
				UserID string `json:"user_id"`
			} `json:"user"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			h.Fatalf("the journal of the hook: %v: %q", err, line)
		}
		pins[r.User.UserID] = append(pins[r.User.UserID], r.PIN)
		ids[r.User.UserID] = append(ids[r.User.UserID], r.RequestID)
	}
	return pins, ids
}

// A job that is killed again and again loses nobody, repeats nothing but the
// same request, and commits only what was accepted.
func TestKilledRunGoesOn(t *testing.T) {
	const users = 120
	h := newHome(t, "sleep 0.1") // longer in all than the runs that are killed
	h.users(users)
	h.write("job.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o644)
	for range 6 {
		cmd := h.command("run", "job.yaml", "--yes")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(30+rand.IntN(170)) * time.Millisecond) // a random instant is the point
		cmd.Process.Kill()
		cmd.Wait()
	}
	out, err := h.dirpin("", "jobs", "show", "1")
	if err != nil || !strings.Contains(out, "go on with: dirpin run") {
		t.Errorf("jobs show: %v\n%s", err, out)
	}
	out, err = h.dirpin("", "run", "job.yaml", "--yes", "--json")
	if err != nil {
		t.Fatal(err, out)
	}
	if !strings.Contains(out, `"updated":120`) || !strings.Contains(out, `"id":1,`) {
		t.Errorf("the job ended otherwise: %s", out)
	}
	h.check(users)
}

func (h *home) check(users int) {
	h.Helper()
	pins, ids := h.accepted()
	cfg, err := config.Load(h.dir + "/dirpin.yaml")
	if err != nil {
		h.Fatal(err)
	}
	ring, err := credential.LoadRing(h.dir + "/state/key")
	if err != nil {
		h.Fatal(err)
	}
	hasher := credential.NewHasher(ring, newParams())
	s, err := store.Open(context.Background(), store.Options{Path: cfg.Store.SQLite})
	if err != nil {
		h.Fatal(err)
	}
	defer s.Close()
	n := 0
	err = s.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Report(1, func(r *store.ReportRow) error { n++; return nil })
	})
	if err != nil || n != users {
		h.Errorf("the job has %d items, %v", n, err)
	}
	for id, values := range pins {
		for i := range values {
			if values[i] != values[0] || ids[id][i] != ids[id][0] {
				h.Errorf("%s was pushed another value or under another request id", id)
			}
		}
		err := s.Read(context.Background(), func(tx *store.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			c, err := tx.Credential(u.ID, store.PIN)
			if err != nil {
				return err
			}
			ok, _, err := hasher.Verify(credential.PIN, c.Hash, secret.New(values[0]))
			if !ok {
				h.Errorf("%s: the local PIN is not the one that was accepted", id)
			}
			return err
		})
		if err != nil {
			h.Error(err)
		}
	}
	if len(pins) != users {
		h.Errorf("%d users were pushed, want %d", len(pins), users)
	}
}

// No value is found in the state folder, in what was printed, or in the
// arguments and environment of the hook, however it is written.
func TestValuesAreNowhere(t *testing.T) {
	h := newHome(t, `env >>`+"$0.env; cat /proc/self/cmdline >>$0.env")
	h.users(20)
	h.write("job.yaml", "select: {query: all}\nreset: {pin: \"82749163\", password: Xq7-canary-Zw}\n", 0o600)
	h.write("state/lists/new.csv", "user_id,pin\nw1,93518264\nw2,93518265\nnobody,93518266\n", 0o600)
	h.write("csv.yaml", "select: {csv: {name: new.csv, pin_length: 8}}\n", 0o600)
	for _, args := range [][]string{{"run", "job.yaml", "--dry-run"}, {"--log-level", "debug", "run", "job.yaml", "--yes"}, {"--log-level", "debug", "run", "csv.yaml", "--yes", "--json"}, {"jobs", "log", "1"}, {"explain", "job.yaml", "w1"}} {
		if out, err := h.dirpin("", args...); err != nil && codeOf(err) != "1" {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if err := os.Remove(filepath.Join(h.dir, "state/lists/new.csv")); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"82749163", "Xq7-canary-Zw", "93518264", "93518265", "93518266"} {
		for _, form := range forms(value) {
			if bytes.Contains(h.out.Bytes(), form) {
				t.Errorf("%q was printed:\n%s", form, h.out.String())
			}
			h.grep(form)
		}
	}
}

// forms are the ways in which a value may lie about.
func forms(value string) [][]byte {
	var wide []byte
	for _, u := range utf16.Encode([]rune(value)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	all := [][]byte{[]byte(value), wide}
	for pad := range 3 { // base64 depends on what stands before
		s := base64.StdEncoding.EncodeToString(append(make([]byte, pad), value...))
		all = append(all, []byte(s[4*((pad+2)/3):len(s)-4]))
	}
	return all
}

func (h *home) grep(form []byte) {
	h.Helper()
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "/journal") || filepath.Dir(path) == h.dir && strings.HasSuffix(path, ".yaml") {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, form) {
			h.Errorf("%s holds %q", path, form)
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// The same against a Unity Connection that loses answers: whatever is killed
// when, no mailbox is set twice, and none has another PIN than was committed.
func TestKilledUnityRunGoesOn(t *testing.T) {
	const users = 80
	srv := fakeunity.New("api", "hush-hush")
	srv.Delay = 80 * time.Millisecond
	srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
		return fakeunity.Fault{LoseAnswer: r.Kind == "put" && r.N%11 == 0}
	}
	url, ca, err := srv.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	h := newHome(t, "exit 1")
	h.write("pw", "hush-hush\n", 0o600)
	h.write("dirpin.yaml", "state_dir: "+h.dir+"/state\ncredentials: {pin: {min_length: 6}}\nvoicemail: {name: cuc, type: unity, url: '"+url+"', ca_file: "+ca+", user: api, password: {file: "+h.dir+"/pw}, rate: 0}\n", 0o644)
	h.users(users)
	for i := range users {
		srv.Add(fmt.Sprintf("w%d", i))
	}
	h.write("job.yaml", "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n", 0o644)
	for range 6 {
		cmd := h.command("run", "job.yaml", "--yes")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+rand.IntN(250)) * time.Millisecond) // a random instant is the point
		cmd.Process.Kill()
		cmd.Wait()
	}
	out, err := h.dirpin("", "run", "job.yaml", "--yes", "--json")
	if err != nil || !strings.Contains(out, `"updated":80`) {
		t.Fatal(err, out)
	}
	for i := range users {
		id := fmt.Sprintf("w%d", i)
		m, _ := srv.Mailbox(id)
		if m.Changes != 1 {
			t.Errorf("%s was set %d times", id, m.Changes)
		}
		if out, err := h.dirpin(m.PIN, "verify", id, "--pin"); err != nil {
			t.Errorf("%s: the mailbox has another PIN than was committed: %v %s", id, err, out)
		}
	}
	if v := srv.Violations(); len(v) > 0 {
		t.Errorf("%q", v)
	}
}
