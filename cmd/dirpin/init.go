package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/spf13/cobra"
)

func newInitCommand(a *app) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use: "init", Short: "Make a configuration, the state folders and a key ring", Args: cobra.NoArgs,
		Long: `Make a commented configuration at --config, the state folders, a key ring (only
its owner may read it) and, beside the configuration, seal.pub, with which
anybody may seal values for job files. Nothing that exists is overwritten.

With --server the configuration has an agreement with that directory. The
password of --bind-dn is asked for, or read from stdin, and kept in a file beside
the configuration that only dirpin may read.`,
		Example: `  dirpin init
  dirpin init --server ldaps://ldap.example.com --bind-dn cn=sync,dc=example,dc=com --ca-file /etc/dirpin/ca.pem`,
		RunE: func(*cobra.Command, []string) error { return runInit(a, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.stateDir, "state-dir", config.DefaultStateDir(), "the state `DIR`: database, key ring, watch folder, reports")
	f.StringArrayVar(&o.directory.Servers, "server", nil, "a directory: ldaps://HOST, ldap://HOST with --start-tls, srv:DOMAIN; tried in the order given (`URL`)")
	f.StringVar(&o.directory.BindDN, "bind-dn", "", "the account `DN` that reads it; anonymous without")
	f.StringVar(&o.directory.Base, "base", "", "the `DN` below which users are; by default the domain in --bind-dn")
	f.StringVar(&o.directory.CAFile, "ca-file", "", "the `FILE` of the authority that signed the directory's certificate, where this machine does not know it")
	f.BoolVar(&o.directory.StartTLS, "start-tls", false, "encrypt ldap:// by StartTLS")
	f.StringVar(&o.directory.Agreement, "agreement", "corp", "the `NAME` of the agreement")
	return cmd
}

// initOptions are the flags of init.
type initOptions struct {
	stateDir  string
	directory config.Directory
}

// files are what init makes beside the folders.
func (o *initOptions) files(path string) []string {
	files := []string{path, o.key(), sealPub(path), filepath.Join(o.stateDir, "dirpin.db")}
	if o.directory.PasswordFile != "" {
		files = append(files, o.directory.PasswordFile)
	}
	return files
}

func (o *initOptions) key() string { return filepath.Join(o.stateDir, "key") }

// complete fills in what the flags leave out, and returns the configuration.
func (o *initOptions) complete(path string) (text []byte, err error) {
	if o.stateDir, err = filepath.Abs(o.stateDir); err != nil {
		return nil, err
	}
	d := &o.directory
	if len(d.Servers) == 0 {
		if d.BindDN != "" || d.Base != "" || d.CAFile != "" || d.StartTLS {
			return nil, usagef("init: --server names the directory; without it the other flags of a directory say nothing")
		}
		return config.Template(o.stateDir, nil), nil
	}
	if d.Base == "" {
		if d.Base = domainOf(d.BindDN); d.Base == "" {
			return nil, usagef("init: --base DN says below what the users are, such as dc=example,dc=com")
		}
	}
	if d.BindDN != "" {
		d.PasswordFile = filepath.Join(filepath.Dir(path), d.Agreement+".pw")
	}
	if d.CAFile != "" {
		if d.CAFile, err = filepath.Abs(d.CAFile); err != nil {
			return nil, err
		}
		if _, err := os.Stat(d.CAFile); err != nil {
			return nil, usagef("init: --ca-file: %w", err)
		}
	}
	text = config.Template(o.stateDir, d)
	if _, faults := config.Parse(path, text); faults.Failed() {
		var all []string
		for _, f := range faults {
			if !f.Warning {
				all = append(all, f.Message)
			}
		}
		return nil, usagef("init: the directory cannot be used so: %s", strings.Join(all, "; "))
	}
	return text, nil
}

// domainOf returns the domain components at the end of a name.
func domainOf(dn string) string {
	i := strings.Index(strings.ToLower(dn), "dc=")
	for i > 0 && dn[i-1] != ',' && dn[i-1] != ' ' {
		next := strings.Index(strings.ToLower(dn[i+3:]), "dc=")
		if next < 0 {
			return ""
		}
		i += 3 + next
	}
	if i < 0 {
		return ""
	}
	return dn[i:]
}

func runInit(a *app, o initOptions) error {
	path, err := filepath.Abs(a.configPath())
	if err != nil {
		return err
	}
	text, err := o.complete(path)
	if err != nil {
		return err
	}
	stateDir, key := o.stateDir, o.key()
	for _, p := range o.files(path) {
		if _, err := os.Lstat(p); err == nil {
			return usagef("%s exists already: dirpin init overwrites nothing", p)
		} else if !errors.Is(err, os.ErrNotExist) {
			return withCode(exitUsage, err)
		}
	}
	var password secret.Value
	if o.directory.PasswordFile != "" {
		if password, err = a.readSecret("Password of " + o.directory.BindDN + ": "); err != nil {
			return err
		}
	}
	if err := makeState(stateDir, "jobs", "lists", "reports"); err != nil {
		return withCode(exitUsage, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return withCode(exitUsage, err)
	}
	ring, err := credential.NewRing(nil, time.Now())
	if err != nil {
		return err
	}
	if err := credential.CreateRing(key, ring); err != nil {
		return withCode(exitUsage, err)
	}
	if err := writeNew(sealPub(path), []byte("# Anybody may seal values for job files with this: dirpin seal, or age -a -r RECIPIENT\n"+ring.Recipient()+"\n"), 0o644); err != nil {
		return withCode(exitUsage, err)
	}
	state := []string{stateDir, key, filepath.Join(stateDir, "jobs"), filepath.Join(stateDir, "lists"), filepath.Join(stateDir, "reports")}
	if o.directory.PasswordFile != "" {
		if err := writeNew(o.directory.PasswordFile, []byte(password.Reveal()+"\n"), 0o600); err != nil {
			return withCode(exitUsage, err)
		}
		state = append(state, o.directory.PasswordFile)
	}
	// The configuration comes last: while it is missing, init may be run again
	// once what is left of this one is removed.
	if err := writeNew(path, text, 0o640); err != nil {
		return withCode(exitUsage, err)
	}
	if err := giveAway(stateDir, state, path); err != nil {
		return withCode(exitUsage, err)
	}
	fmt.Fprintf(a.err, "Made %s, %s and %s.\nNext:\n", path, stateDir, sealPub(path))
	if len(o.directory.Servers) == 0 {
		fmt.Fprintf(a.err, "  edit %s: a directory, a voicemail system (man dirpin.yaml)\n", path)
	}
	fmt.Fprintf(a.err, `  dirpin doctor             is everything right and in reach?
  dirpin sync               bring the users in (or: dirpin users import users.csv)
  dirpin run job.yaml       the first job; --dry-run shows the plan (man dirpin-job)
  dirpin service start      from then on: synchronized, and jobs taken out of %s
Back up %s apart from the database: without it no PIN can be verified.
`, filepath.Join(stateDir, "jobs"), key)
	return nil
}

func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := createNew(path, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}
