package slapd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newServer(t *testing.T) *Server {
	t.Helper()
	s, err := New(Options{Dir: t.TempDir()})
	if errors.Is(err, ErrMissing) {
		t.Fatal("slapd is missing: run `make deps` (as root) to install what the tests need")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

func TestStartStopKill(t *testing.T) {
	s := newServer(t)
	ctx := context.Background()
	if err := s.LoadPeople(1, 10); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(ctx); err != nil {
			t.Errorf("starting twice: %v", err)
		}
		if err := s.LoadPeople(11, 12); err == nil {
			t.Error("entries were loaded under a running server")
		}
		s.Kill()
		if s.Running() {
			t.Error("killed, and running")
		}
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stopping what does not run: %v", err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	s := newServer(t)
	conf := s.path("slapd.conf")
	if err := os.WriteFile(conf, []byte("nonsense here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.Start(context.Background())
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want what slapd says of its configuration", err)
	}
	if s.Running() {
		t.Error("it runs")
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	s := newServer(t)
	err := s.Load(strings.NewReader("dn: uid=x,dc=elsewhere\nobjectClass: person\n"))
	if err == nil || !strings.Contains(err.Error(), "dc=elsewhere") {
		t.Errorf("got %v, want the entry's name", err)
	}
}

func TestSomebodyIsAlwaysTheSame(t *testing.T) {
	seen := make(map[string]bool)
	for n := 1; n <= 500; n++ {
		p := Somebody(n)
		if p != Somebody(n) {
			t.Fatalf("person %d changes", n)
		}
		if seen[p.UID] || p.FirstName == "" || p.LastName == "" || p.Department == "" {
			t.Fatalf("person %d: %+v", n, p)
		}
		seen[p.UID] = true
		if (p.Manager == 0) != (n == 1) || p.Manager >= n {
			t.Fatalf("the manager of %d is %d", n, p.Manager)
		}
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"slapd.conf", "server.key", "client.key", "ca.key"} {
		fi, err := os.Stat(filepath.Join(s.opts.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v", name, fi.Mode())
		}
	}
}
