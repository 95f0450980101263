package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dirpin/dirpin/internal/slapd"
)

// attributes are what everyone is asked for: those that dirpin reads.
var attributes = []string{"entryUUID", "uid", "givenName", "middleName", "initials", "sn", "manager", "departmentNumber", "mail", "telephoneNumber", "preferredLanguage"}

const filter = "(objectClass=inetOrgPerson)"

// maxSize of a slapd's data: a million users take two gigabytes.
const maxSize = 8 << 30

// bench is one directory, and what was measured with it.
type bench struct {
	users    int
	runs     int
	binary   string
	only     string
	dir      string
	server   *slapd.Server
	measured map[string][]figures // by row
	names    int                  // that were given
}

// figures are of one process.
type figures struct {
	wall, cpu time.Duration
	peak      int64 // bytes
}

// row is something that is measured. Rows run in the order of the table, once
// a run, so that what is compared lies close together in time.
type row struct {
	name string
	run  func(context.Context, *bench) (figures, error)
	most int // users with which it runs; 0: any number
}

// target compares two rows.
type target struct {
	row, against string
	most         float64 // of the ratio of their walls; negative: at least
}

func (b *bench) all(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "dirpin-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	fmt.Fprintf(os.Stderr, "loading %d users into slapd\n", b.users)
	if err := os.Mkdir(b.path("slapd"), 0o700); err != nil {
		return err
	}
	b.server, err = slapd.New(slapd.Options{Dir: b.path("slapd"), MaxSize: maxSize, Overlays: []string{"overlay syncprov", "syncprov-sessionlog 100000"}})
	if err != nil {
		return err
	}
	if err := b.server.LoadPeople(1, b.users); err != nil {
		return err
	}
	if err := b.server.Start(ctx); err != nil {
		return err
	}
	defer b.server.Stop()
	if _, err := ldapsearch(true)(ctx, b); err != nil { // the server's caches
		return err
	}
	for i := range b.runs {
		for _, r := range rows {
			if !strings.Contains(r.name, b.only) && !strings.HasPrefix(r.name, "ldapsearch") || r.most > 0 && b.users > r.most {
				continue
			}
			f, err := r.run(ctx, b)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(os.Stderr, "%d/%d %-45s %8.2f s wall %8.2f s CPU %6d MiB\n", i+1, b.runs, r.name, f.wall.Seconds(), f.cpu.Seconds(), f.peak>>20)
			b.measured[r.name] = append(b.measured[r.name], f)
		}
	}
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// measure runs a program to its end.
func measure(ctx context.Context, out *os.File, name string, args ...string) (f figures, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if out != nil {
		cmd.Stdout = out
	} else {
		cmd.Stdout = &said
	}
	began := time.Now()
	err = cmd.Run()
	f.wall = time.Since(began)
	if err != nil {
		return f, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, said.String())
	}
	f.of(cmd.ProcessState)
	return f, nil
}

func (f *figures) of(p *os.ProcessState) {
	f.cpu = p.UserTime() + p.SystemTime()
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		f.peak = u.Maxrss << 10
	}
}
