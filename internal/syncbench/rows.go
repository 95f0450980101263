package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/slapd"
)

// The names of rows that targets compare.
const (
	pagedSearch   = "ldapsearch, paged, to /dev/null"
	unpagedSearch = "ldapsearch, unpaged, to /dev/null"
	firstFull     = "dirpin, first full sync"
	secondFull    = "dirpin, nothing changed, second sync"
	laterFull     = "dirpin, nothing changed, later syncs"
	tapOnly       = "the tap, paged: decoded and hashed only"
	pagingLoop    = "go-ldap SearchWithPaging loop, same store"
	pythonFirst   = "python-ldap + sqlite3, first"
	consumer      = "slapd syncrepl consumer, without fsync"
	firstRepl     = "dirpin, first sync by syncrepl"
	wholeProgram  = "dirpin, incremental by syncrepl, nothing changed, the whole program"
	noChanges     = "dirpin, incremental by syncrepl, nothing changed, after the bind"
	tenChanges    = "dirpin, incremental by syncrepl, 10 changed, after the bind"
	tenDeletions  = "dirpin, incremental by syncrepl, 10 deleted, after the bind"
	arrival       = "dirpin, change there to row here, while following"
)

// fewUsers is up to where tools run that take too much memory or time of more.
const fewUsers = 200_000

var rows = []row{
	{name: pagedSearch, run: ldapsearch(true)},
	{name: firstFull, run: firstSync("full")},
	{name: tapOnly, run: child("tap")},
	{name: unpagedSearch, run: ldapsearch(false)},
	{name: secondFull, run: nextSync("full")},
	{name: laterFull, run: nextSync("full")},
	{name: pagedSearch, run: ldapsearch(true)},
	{name: firstRepl, run: firstSync("syncrepl")},
	{name: wholeProgram, run: nextSync("syncrepl")},
	{name: noChanges, run: afterBind},
	{name: tenChanges, run: afterChanges(10)},
	{name: tenDeletions, run: afterDeletions(10)},
	{name: arrival, run: following},
	{name: pagingLoop, run: child("paging"), most: fewUsers}, // it takes 12 KiB a user
	{name: pythonFirst, run: pythonScript},
	{name: consumer, run: syncreplConsumer, most: fewUsers}, // one transaction a user
}

var targets = []target{
	{firstFull, pagedSearch, 1.3},
	{tapOnly, pagedSearch, 1.0},
	{pagingLoop, firstFull, -4},
	{consumer, firstFull, -1},
	{pythonFirst, firstFull, -1},
	{secondFull, pagedSearch, 1.0},
	{laterFull, pagedSearch, 1.0},
	{firstRepl, pagedSearch, 1.3},
}

// limits are what a row may take at most.
var limits = map[string]time.Duration{
	noChanges: 50 * time.Millisecond, tenChanges: 50 * time.Millisecond, tenDeletions: 50 * time.Millisecond, arrival: time.Second,
}

func ldapsearch(paged bool) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (figures, error) {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return figures{}, err
		}
		defer null.Close()
		args := []string{"-x", "-LLL", "-H", b.server.URL(), "-D", b.server.BindDN(), "-w", b.server.BindPassword(), "-b", b.server.People()}
		if paged {
			args = append(args, "-E", "pr=1000/noprompt")
		}
		return measure(ctx, null, "ldapsearch", append(append(args, filter), attributes...)...)
	}
}

// firstSync synchronizes into a database that did not exist.
func firstSync(method string) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (figures, error) {
		dir := b.path(method)
		if err := os.RemoveAll(dir); err != nil {
			return figures{}, err
		}
		if _, err := measure(ctx, nil, b.binary, "--config", dir+"/dirpin.yaml", "init", "--state-dir", dir+"/state"); err != nil {
			return figures{}, err
		}
		conf := fmt.Sprintf("state_dir: %q\nkey_file: %q\nagreements:\n  - name: corp\n    servers: [%q]\n    insecure_plaintext: true\n    bind: {dn: %q, password: {file: %q}}\n    base: %q\n    method: %s\n",
			dir+"/state", dir+"/state/key", b.server.URL(), b.server.BindDN(), dir+"/pw", b.server.People(), method)
		if err := os.WriteFile(dir+"/pw", []byte(b.server.BindPassword()), 0o600); err != nil {
			return figures{}, err
		}
		if err := os.WriteFile(dir+"/dirpin.yaml", []byte(conf), 0o600); err != nil {
			return figures{}, err
		}
		return nextSync(method)(ctx, b)
	}
}

func nextSync(method string) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (figures, error) {
		return measure(ctx, nil, b.binary, "--quiet", "--config", b.path(method)+"/dirpin.yaml", "sync", "corp")
	}
}

//go:embed sync.py
var script []byte

func pythonScript(ctx context.Context, b *bench) (figures, error) {
	os.Remove(b.path("python.db"))
	if err := os.WriteFile(b.path("sync.py"), script, 0o600); err != nil {
		return figures{}, err
	}
	return measure(ctx, nil, "/usr/bin/python3", b.path("sync.py"), b.server.URL(), b.server.BindDN(), b.server.BindPassword(), b.server.People(), b.path("python.db"))
}

// syncreplConsumer has another slapd replicate the directory.
func syncreplConsumer(ctx context.Context, b *bench) (f figures, err error) {
	dir := b.path("consumer")
	if err := os.RemoveAll(dir); err != nil {
		return f, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return f, err
	}
	c, err := slapd.New(slapd.Options{Dir: dir, Empty: true, MaxSize: maxSize, Overlays: []string{fmt.Sprintf(
		"syncrepl rid=1 provider=%s type=refreshAndPersist searchbase=%q bindmethod=simple binddn=%q credentials=%s retry=\"1 +\"\nupdateref %s",
		b.server.URL(), b.server.Suffix(), b.server.AdminDN(), slapd.AdminPassword, b.server.URL())}})
	if err != nil {
		return f, err
	}
	want, err := contextCSN(b.server)
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := c.Start(ctx); err != nil {
		return f, err
	}
	defer c.Stop()
	for {
		if got, err := contextCSN(c); err == nil && got == want {
			break
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	f.wall = time.Since(began)
	if err := c.Stop(); err != nil {
		return f, err
	}
	f.of(c.Used())
	return f, nil
}

func contextCSN(s *slapd.Server) (string, error) {
	l, err := ldap.DialURL(s.URL())
	if err != nil {
		return "", err
	}
	defer l.Close()
	r, err := l.Search(ldap.NewSearchRequest(s.Suffix(), ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"contextCSN"}, nil))
	if err != nil {
		return "", err
	}
	if len(r.Entries) != 1 {
		return "", fmt.Errorf("%d entries", len(r.Entries))
	}
	return r.Entries[0].GetAttributeValue("contextCSN"), nil
}
