package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/resetjob"
	"github.com/spf13/cobra"
)

func newCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE…]", Short: "Check the configuration and job files",
		Long: `Check the configuration, and job files with the lists that they name. Every fault
is printed, with file, line and column; never a value.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCheck(cmd.Context(), a, args) },
	}
}

func runCheck(ctx context.Context, a *app, files []string) error {
	path := a.configPath()
	jobs := make([]jobFile, len(files))
	for i, f := range files { // before dirpin becomes the owner of the state folder
		var err error
		if jobs[i].path, jobs[i].data, err = readJobFile(f); err != nil {
			return err
		}
		jobs[i].path = f
	}
	cfg, err := a.loadConfig()
	var faults strictyaml.Faults
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	bad := err != nil
	if cfg != nil {
		faults = cfg.Warnings
	}
	if cfg != nil {
		faults = append(faults, fileWarnings(path, cfg)...)
		faults = append(faults, orphanWarnings(ctx, path, cfg)...)
		if mended := courierFault(path, cfg); mended != nil {
			faults, bad = append(faults, *mended), true
		}
	}
	a.printFaults(faults)
	if cfg == nil && len(jobs) > 0 {
		fmt.Fprintln(a.err, "The job files are checked once the configuration is right.")
	}
	if cfg != nil {
		for _, j := range jobs {
			bad = a.checkJob(cfg, j) || bad
		}
	}
	if bad {
		return &exitError{code: exitUsage}
	}
	if !a.json && !a.quiet {
		fmt.Fprintf(a.err, "%s: no fault\n", path)
		for _, j := range jobs {
			fmt.Fprintf(a.err, "%s: no fault\n", j.path)
		}
	}
	return nil
}

// courierFault says what is wrong with the CA or the templates of mails. Their
// secrets are the business of those who may read them.
func courierFault(path string, cfg *config.Config) *strictyaml.Fault {
	public := *cfg
	if cfg.Mail != nil {
		mail := *cfg.Mail
		mail.Password, public.Mail = config.Secret{}, &mail
	}
	if cfg.Webhook != nil {
		hook := *cfg.Webhook
		hook.Secret, public.Webhook = config.Secret{}, &hook
	}
	if _, _, err := couriers(&public, nil); err != nil {
		return &strictyaml.Fault{File: path, Message: err.Error()}
	}
	return nil
}

// orphanWarnings says which agreements have users and are not in the
// configuration, where the database can be read.
func orphanWarnings(ctx context.Context, path string, cfg *config.Config) strictyaml.Faults {
	options, err := storeOptions(cfg)
	if err != nil {
		return strictyaml.Faults{{File: path, Warning: true, Message: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	known, err := store.PeekAgreements(ctx, options)
	if err != nil && cfg.Store.URL != "" {
		return strictyaml.Faults{{File: path, Warning: true, Message: "store: " + err.Error()}}
	}
	if err != nil {
		return nil // whoever works with the database will hear of it
	}
	var faults strictyaml.Faults
	for _, name := range known {
		if !slices.ContainsFunc(cfg.Agreements, func(c config.Agreement) bool { return c.Name == name || c.RenamedFrom == name }) {
			faults = append(faults, strictyaml.Fault{File: path, Warning: true, Message: orphanText(name)})
		}
	}
	return faults
}

type jobFile struct {
	path string
	data []byte
}

// checkJob prints the faults of a job file and tells whether it has any. The
// key ring judges sealed values where it can be read.
func (a *app) checkJob(cfg *config.Config, j jobFile) bool {
	var ring *credential.Ring
	if r, err := loadRing(cfg); err == nil {
		ring = r
	} else {
		fmt.Fprintf(a.err, "%s: sealed values are not judged: %v\n", j.path, err)
	}
	o := parseOptions(cfg, ring)
	o.Foreground = false // `at`, `until` and `expires` must lie ahead
	sub, err := resetjob.Load(j.path, j.data, cfg.Watch[0].Lists, o)
	var faults strictyaml.Faults
	switch {
	case errors.As(err, &faults):
		a.printFaults(faults)
		return true
	case err != nil:
		a.printFaults(strictyaml.Faults{{File: j.path, Message: err.Error()}})
		return true
	}
	a.printFaults(sub.Warnings)
	return false
}

// printFaults prints the result of a check: it is what was asked for, and so
// goes to stdout.
func (a *app) printFaults(faults strictyaml.Faults) {
	enc := json.NewEncoder(a.out)
	for _, f := range faults {
		if a.json {
			enc.Encode(struct {
				File    string `json:"file"`
				Line    int    `json:"line"`
				Column  int    `json:"column"`
				Message string `json:"message"`
				Warning bool   `json:"warning"`
			}{f.File, f.Line, f.Column, f.Message, f.Warning})
			continue
		}
		fmt.Fprintln(a.out, f)
	}
}

func newSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "schema config|job|report|hook", Short: "Print the JSON schema of a kind of file", Args: cobra.ExactArgs(1), ValidArgs: []string{"config", "job", "report", "hook"},
		Long: `Print a JSON schema: of the configuration or of job files, with which editors
complete and check them as they are written; of report.json; or of what a hook is
sent and may answer.`,
		RunE: func(_ *cobra.Command, args []string) error {
			var s []byte
			switch args[0] {
			case "config":
				s = config.Schema()
			case "job":
				s = resetjob.JobSchema()
			case "report":
				s = resetjob.ReportSchema()
			case "hook":
				s = voicemail.HookSchema()
			default:
				return usagef("schema: config, job, report or hook, not %q", args[0])
			}
			_, err := a.out.Write(s)
			return err
		},
	}
}
