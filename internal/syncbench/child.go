package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// childArg has the program do one row by itself, so that its memory is its own.
const childArg = "child"

// child is a row that this program does.
func child(what string) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (figures, error) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(b.path(what+".db") + suffix)
		}
		self, err := os.Executable()
		if err != nil {
			return figures{}, err
		}
		return measure(ctx, nil, self, childArg, "-url", b.server.URL(), "-bind", b.server.BindDN(), "-password", b.server.BindPassword(),
			"-base", b.server.People(), "-db", b.path(what+".db"), what)
	}
}

func runChild(args []string) error {
	fs := flag.NewFlagSet(childArg, flag.ContinueOnError)
	url, bind, password := fs.String("url", "", ""), fs.String("bind", "", ""), fs.String("password", "", "")
	base, db := fs.String("base", "", ""), fs.String("db", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	switch fs.Arg(0) {
	case "paging":
	case "tap":
		return decode(ctx, *url, *bind, *password, *base)
	default:
		return fmt.Errorf("%s: no such row", fs.Arg(0))
	}
	s, err := store.Open(ctx, store.Options{Path: *db})
	if err != nil {
		return err
	}
	defer s.Close()
	percent := config.Limit{N: 10, Percent: true}
	r, err := ldapsync.Run(ctx, ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Method: "full", Interval: 15 * time.Minute, Guard: config.Guard{MaxDeactivate: percent, MaxBlank: percent, Window: 24 * time.Hour}},
		Store:     ldapsync.Over(s), Log: slog.New(slog.DiscardHandler), Full: true,
		Connect: func(context.Context, ldapsync.ConnectOptions) (ldapsync.Directory, error) {
			l, err := ldap.DialURL(*url)
			if err != nil {
				return nil, err
			}
			return &loop{conn: l, base: *base}, l.Bind(*bind, *password)
		},
	})
	if err == nil && r.Added == 0 {
		err = errors.New("nobody was added")
	}
	return err
}

// loop is a directory as one would read it with go-ldap: SearchWithPaging, and
// a struct of what GetAttributeValue returns.
type loop struct {
	ldapsync.Directory // that of incremental feeds, which is not there
	conn               *ldap.Conn
	base               string
}

func (l *loop) Close() error { return l.conn.Close() }

func (l *loop) Facts() ldapsync.Facts {
	return ldapsync.Facts{Kind: ldapsync.KindOpenLDAP, Server: "bench", KeyAttribute: "entryUUID", ScopeFP: "s", MapFP: "m"}
}

func (l *loop) Present(context.Context, string, string) (bool, error) { return false, nil }

func (l *loop) Entries(_ context.Context, a ldapsync.Answer) error {
	r, err := l.conn.SearchWithPaging(ldap.NewSearchRequest(l.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, attributes, nil), 1000)
	if err != nil {
		return err
	}
	for _, e := range r.Entries {
		x := new(ldapsync.Entry)
		p := &x.Person
		p.Key, p.DN, p.DNNorm, p.Status, p.Agreement = e.GetAttributeValue("entryUUID"), e.DN, strings.ToLower(e.DN), user.Active, "corp"
		p.UserID, p.FirstName, p.MiddleName, p.LastName = e.GetAttributeValue("uid"), e.GetAttributeValue("givenName"), e.GetAttributeValue("initials"), e.GetAttributeValue("sn")
		p.ManagerDN, p.Departments, p.Mail = strings.ToLower(e.GetAttributeValue("manager")), e.GetAttributeValues("departmentNumber"), e.GetAttributeValue("mail")
		p.Telephone, p.Language = e.GetAttributeValue("telephoneNumber"), e.GetAttributeValue("preferredLanguage")
		h := fnv.New64a()
		fmt.Fprintf(h, "%#v", p.User)
		p.Hash = h.Sum64()
		var key [16]byte
		if _, err := hex.Decode(key[:], []byte(strings.ReplaceAll(p.Key, "-", ""))); err != nil {
			return err
		}
		if a.Known(key, p.Hash) {
			continue
		}
		if err := a.Yield(x); err != nil {
			return err
		}
	}
	return nil
}
