package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/ldapsync"
)

// admin runs f with a connection that may do everything.
func (b *bench) admin(f func(*ldap.Conn) error) error {
	l, err := ldap.DialURL(b.server.URL())
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Bind(b.server.AdminDN(), slapd.AdminPassword); err != nil {
		return err
	}
	return f(l)
}

func (b *bench) dn(n int) string { return "uid=" + slapd.Somebody(n).UID + "," + b.server.People() }

// set changes the first name of a person to one never seen.
func (b *bench) set(l *ldap.Conn, n int) (name string, err error) {
	b.names++
	name = fmt.Sprintf("Name %d", b.names)
	r := ldap.NewModifyRequest(b.dn(n), nil)
	r.Replace("givenName", []string{name})
	return name, l.Modify(r)
}

// afterChanges synchronizes after so many people have changed.
func afterChanges(n int) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (figures, error) {
		err := b.admin(func(l *ldap.Conn) error {
			for i := range n {
				if _, err := b.set(l, 1+i*(b.users/n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return figures{}, err
		}
		return afterBind(ctx, b)
	}
}

// afterDeletions synchronizes after so many people have left, and has them come
// back thereafter.
func afterDeletions(n int) func(context.Context, *bench) (figures, error) {
	return func(ctx context.Context, b *bench) (f figures, err error) {
		move := func(l *ldap.Conn, i int, from, to string) error {
			rdn := "uid=" + slapd.Somebody(2+i*(b.users/n)).UID
			return l.ModifyDN(ldap.NewModifyDNRequest(rdn+","+from, rdn, false, to))
		}
		all := func(from, to string) error {
			return b.admin(func(l *ldap.Conn) error {
				for i := range n {
					if err := move(l, i, from, to); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := all(b.server.People(), b.server.Suffix()); err != nil {
			return f, err
		}
		if f, err = afterBind(ctx, b); err != nil {
			return f, err
		}
		if err := all(b.server.Suffix(), b.server.People()); err != nil {
			return f, err
		}
		_, err = afterBind(ctx, b)
		return f, err
	}
}

// replicated are the options of a synchronization by syncrepl, with the store of
// the rows before.
func (b *bench) replicated(s *store.Store) ldapsync.Options {
	percent := config.Limit{N: 10, Percent: true}
	return ldapsync.Options{
		Agreement: config.Agreement{Name: "corp", Servers: []string{b.server.URL()}, InsecurePlaintext: true, Bind: config.Bind{DN: b.server.BindDN()}, Base: b.server.People(),
			Method: "syncrepl", Interval: 15 * time.Minute, FullEvery: 24 * time.Hour, PageSize: 1000, Timeout: 30 * time.Second,
			Guard: config.Guard{MaxDeactivate: percent, MaxBlank: percent, Window: 24 * time.Hour}},
		Password: secret.New(b.server.BindPassword()), Store: ldapsync.Over(s), Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// afterBind synchronizes in this process. The wall begins when the connection
// is bound and the server known; CPU and memory are left out.
func afterBind(ctx context.Context, b *bench) (f figures, err error) {
	s, err := store.Open(ctx, store.Options{Path: b.path("syncrepl/state/dirpin.db")})
	if err != nil {
		return f, err
	}
	defer s.Close()
	o := b.replicated(s)
	var bound time.Time
	o.Connect = func(ctx context.Context, c ldapsync.ConnectOptions) (ldapsync.Directory, error) {
		d, err := ldapsync.Connect(ctx, c)
		bound = time.Now()
		return d, err
	}
	r, err := ldapsync.Run(ctx, o)
	f.wall = time.Since(bound)
	if err == nil && r.Full {
		err = errors.New("everything was read")
	}
	return f, err
}

// following measures how long a change takes from the server's answer to the
// one who made it until it is in the database, committed. The figures are those
// of the median of some changes; CPU and memory are this program's and left out.
func following(ctx context.Context, b *bench) (f figures, err error) {
	s, err := store.Open(ctx, store.Options{Path: b.path("syncrepl/state/dirpin.db")})
	if err != nil {
		return f, err
	}
	defer s.Close()
	following := make(chan bool, 10)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- ldapsync.Follow(ctx, ldapsync.FollowOptions{
			Options: b.replicated(s),
			OnState: func(is bool) { following <- is },
		})
	}()
	defer func() { cancel(); <-ended }()
	select {
	case <-following:
	case err := <-ended:
		return f, err
	case <-time.After(time.Minute):
		return f, errors.New("nothing is followed after a minute")
	}
	var took []time.Duration
	err = b.admin(func(l *ldap.Conn) error {
		for i := range 20 {
			name, err := b.set(l, 3+i)
			if err != nil {
				return err
			}
			began := time.Now()
			for {
				var found []roster.Person
				err := s.Read(ctx, func(tx *store.Tx) (err error) {
					found, err = tx.SyncClaimants([]string{user.Fold(slapd.Somebody(3 + i).UID)})
					return err
				})
				if err != nil {
					return err
				}
				if len(found) == 1 && found[0].FirstName == name {
					break
				}
				if time.Since(began) > time.Minute {
					return errors.New("a change did not arrive within a minute")
				}
				time.Sleep(200 * time.Microsecond)
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	slices.Sort(took)
	return figures{wall: took[len(took)/2]}, nil
}
