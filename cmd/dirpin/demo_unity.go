package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/slapd"
)

// demoUnity is the Unity Connection of a demonstration.
type demoUnity struct {
	fault  func(fakeunity.Request) fakeunity.Fault
	names  []string
	server *fakeunity.Server
	caFile string
}

// demoPassword is the account's, of a server that lives as long as the
// demonstration.
const demoPassword = "only-for-this-demo"

// some picks a quarter of the mailboxes, here and there.
func some(alias string) bool {
	n, _ := strconv.Atoi(strings.TrimLeft(alias, "u0"))
	return n/15%4 == 1
}

// demoFaults are what --fault can let go wrong.
func demoFaults() map[string]func(fakeunity.Request) fakeunity.Fault {
	put := func(f fakeunity.Fault) func(fakeunity.Request) fakeunity.Fault {
		firstOf := firstTimes()
		return func(r fakeunity.Request) fakeunity.Fault {
			if r.Kind == "put" && some(r.Alias) && firstOf(r.Alias) {
				return f
			}
			return fakeunity.Fault{}
		}
	}
	every := func(f fakeunity.Fault) func(fakeunity.Request) fakeunity.Fault {
		return func(r fakeunity.Request) fakeunity.Fault {
			if r.N > 20 && (r.Kind == "search" || r.Kind == "put") {
				return f
			}
			return fakeunity.Fault{}
		}
	}
	return map[string]func(fakeunity.Request) fakeunity.Fault{
		"lost":  put(fakeunity.Fault{LoseAnswer: true}),
		"never": put(fakeunity.Fault{LoseRequest: true}),
		"5xx":   put(fakeunity.Fault{Status: 500}),
		"cut":   func(r fakeunity.Request) fakeunity.Fault { return fakeunity.Fault{Cut: r.Kind == "read" && r.N%9 == 0} },
		"busy":  put(fakeunity.Fault{Status: 429, RetryAfter: "1"}),
		"slow":  func(fakeunity.Request) fakeunity.Fault { return fakeunity.Fault{Delay: 300 * time.Millisecond} },
		"401":   every(fakeunity.Fault{Status: 401}),
		"sso":   every(fakeunity.Fault{Redirect: true}),
		"xml":   func(fakeunity.Request) fakeunity.Fault { return fakeunity.Fault{} }, // see start
	}
}

func demoFaultNames() string {
	return strings.Join(slices.Sorted(maps.Keys(demoFaults())), ", ")
}

func firstTimes() func(string) bool {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(alias string) bool {
		mu.Lock()
		defer mu.Unlock()
		if seen[alias] {
			return false
		}
		seen[alias] = true
		return true
	}
}

// demoFault is what goes wrong by these names, the first that does.
func demoFault(names []string) (func(fakeunity.Request) fakeunity.Fault, error) {
	if len(names) == 0 {
		names = []string{"lost"}
	}
	all := demoFaults()
	var chosen []func(fakeunity.Request) fakeunity.Fault
	for _, n := range names {
		fn, ok := all[n]
		if !ok {
			return nil, usagef("--fault is one of %s", demoFaultNames())
		}
		chosen = append(chosen, fn)
	}
	return func(r fakeunity.Request) fakeunity.Fault {
		for _, fn := range chosen {
			if f := fn(r); f != (fakeunity.Fault{}) {
				return f
			}
		}
		return fakeunity.Fault{}
	}, nil
}

func (u *demoUnity) start(d *demo) (stop func(), err error) {
	dir := filepath.Join(d.dir, "unity")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	u.server = fakeunity.New("dirpin-api", demoPassword)
	u.server.XMLOnly = slices.Contains(u.names, "xml")
	u.server.Fault = u.fault
	for n := 1; n <= demoPeople; n++ {
		if id := slapd.Somebody(n).UID; id != demoRefused {
			u.server.Add(id)
		}
	}
	if d.hook, u.caFile, err = u.server.Start(dir); err != nil {
		return nil, err
	}
	return func() { u.server.Close() }, nil
}

// configure adds the system to a configuration, and makes the policy what the
// server's rule demands.
func (u *demoUnity) configure(d *demo, text string) (string, error) {
	password := filepath.Join(d.dir, "unity.pw")
	if err := os.WriteFile(password, []byte(demoPassword), 0o600); err != nil {
		return "", err
	}
	return text + fmt.Sprintf("voicemail:\n  - name: unity\n    type: unity\n    url: %s\n    ca_file: %s\n    user: dirpin-api\n    password: {file: %s}\n    timeout: 5s\ncredentials:\n  pin: {min_length: 6, history: 5, expires: 180d}\n",
		quote(d.hook), quote(u.caFile), quote(password)), nil
}

// connectUnity looks whether the server is there, and what it demands.
func (d *demo) connectUnity(ctx context.Context) error {
	d.say("Is everything in reach, and do the server's rules for PINs fit ours?")
	return d.command(ctx, "doctor")
}

// verifyUnity compares every mailbox with what was committed here.
func (d *demo) verifyUnity(ctx context.Context) error {
	s := d.unity.server
	d.say(fmt.Sprintf("The server saw %d searches, %d reads and %d PUTs. What was lost there was settled by\nTimeChanged, which was in the database before each PUT left.", s.Requests("search"), s.Requests("read"), s.Requests("put")))
	if v := s.Violations(); len(v) > 0 {
		return fmt.Errorf("dirpin sent what Cisco's guide does not allow: %q", v)
	}
	rows, err := d.secrets()
	if errors.Is(err, os.ErrNotExist) {
		d.say("Nobody was changed, here or there: no value was delivered.")
		return nil
	}
	if err != nil {
		return err
	}
	updated := 0
	for _, row := range rows[1:] {
		m, _ := s.Mailbox(row[0])
		if row[6] != "updated" {
			continue
		}
		updated++
		if m.PIN != row[5] || m.Changes != 1 || !m.MustChange {
			return fmt.Errorf("%s: the mailbox is not what was committed here", row[0])
		}
	}
	d.say(fmt.Sprintf("%d users were updated, and each mailbox has the PIN that was committed here, set once.", updated))
	if updated == 0 {
		return nil
	}
	return d.withInput(ctx, rows[1][5], "verify", rows[1][0], "--pin")
}

// secrets opens what was delivered.
func (d *demo) secrets() ([][]string, error) {
	f, err := os.Open(filepath.Join(d.report(), "secrets.csv.age"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := age.Decrypt(f, d.identity)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(r).ReadAll()
	if err == nil && len(rows) == 0 {
		err = errors.New("secrets.csv.age is empty")
	}
	return rows, err
}
