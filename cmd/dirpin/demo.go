package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/dirpin/dirpin/internal/slapd"
	"github.com/spf13/cobra"
)

func newDemoCommand(a *app) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", Short: "Show a complete run on data of its own", Args: cobra.NoArgs,
		Long: `Show a complete run in a temporary folder: a directory of 300 people (OpenLDAP's
slapd where it is installed, else local users), a voicemail system that refuses
one of them, a job over two departments, its plan, its run and its report.

With --unity the voicemail system is a Cisco Unity Connection, faked after
Cisco's guide: searches, PUTs, authentication rules, TLS. --fault lets things go
wrong there: ` + demoFaultNames() + `. Without it some
answers are lost, and settled.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), a, o) },
	}
	cmd.Flags().BoolVar(&o.unity, "unity", false, "push to a fake Cisco Unity Connection")
	cmd.Flags().StringSliceVar(&o.faults, "fault", nil, "with --unity: what goes wrong there")
	return cmd
}

type demoOptions struct {
	unity  bool
	faults []string
}

const (
	demoPeople  = 300
	demoRefused = "u000049" // whose mailbox refuses every PIN
)

// demo is one demonstration: everything lies below dir.
type demo struct {
	a        *app
	dir      string
	config   string
	server   *slapd.Server // nil: none is installed
	hook     string
	unity    *demoUnity // nil: an http hook
	identity *age.X25519Identity
}

func runDemo(ctx context.Context, a *app, o demoOptions) error {
	if len(o.faults) > 0 && !o.unity {
		return usagef("--fault is for --unity")
	}
	fault, err := demoFault(o.faults)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dirpin-demo-")
	if err != nil {
		return err
	}
	d := &demo{a: a, dir: dir, config: filepath.Join(dir, "dirpin.yaml")}
	if o.unity {
		d.unity = &demoUnity{fault: fault, names: o.faults}
	}
	if d.identity, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	stop, err := d.start(ctx)
	if err != nil {
		return withCode(exitCouldNotRun, fmt.Errorf("the demonstration in %s: %w", dir, err))
	}
	defer stop()
	steps := []func(context.Context) error{d.configure, d.users, d.plan, d.run, d.verify}
	if o.unity {
		steps = []func(context.Context) error{d.configure, d.users, d.connectUnity, d.plan, d.run, d.verifyUnity}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return fmt.Errorf("the demonstration in %s: %w", dir, err)
		}
	}
	fmt.Fprintf(a.out, "\nAll of it is in %s: the configuration, the job file, the reports. Look\naround (dirpin --config %s find), then remove it: rm -r %s\n", dir, d.config, dir)
	return nil
}

// startVoicemail starts the voicemail system.
func (d *demo) startVoicemail() (stop func(), err error) {
	if d.unity != nil {
		return d.unity.start(d)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	boxes := &http.Server{Handler: http.HandlerFunc(demoMailbox), ReadHeaderTimeout: 10 * time.Second}
	go boxes.Serve(l)
	d.hook = "http://" + l.Addr().String() + "/pin"
	return func() { boxes.Close() }, nil
}

// start starts the directory and the voicemail system.
func (d *demo) start(ctx context.Context) (stop func(), err error) {
	stop, err = d.startVoicemail()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(d.dir, "slapd")
	if err := os.Mkdir(folder, 0o700); err != nil {
		stop()
		return nil, err
	}
	server, err := slapd.New(slapd.Options{Dir: folder})
	if errors.Is(err, slapd.ErrMissing) {
		d.say("A directory: OpenLDAP's slapd is not installed here (apt-get install slapd), so\nthis shows local users.")
		return stop, nil
	}
	if err == nil {
		err = server.LoadPeople(1, demoPeople)
	}
	if err == nil {
		err = server.Start(ctx)
	}
	if err != nil {
		stop()
		return nil, err
	}
	d.server = server
	d.say(fmt.Sprintf("A directory: slapd with %d people at %s.", demoPeople, server.TLSURL()))
	stopVoicemail := stop
	return func() { stopVoicemail(); server.Stop() }, nil
}

// demoMailbox stands in for the voicemail system.
func demoMailbox(w http.ResponseWriter, r *http.Request) {
	var req struct {
		RequestID string `json:"request_id"`
		User      struct {
			UserID string `json:"user_id"`
		} `json:"user"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]string{"request_id": req.RequestID, "result": "accepted"}
	if req.User.UserID == demoRefused {
		answer["result"], answer["message"] = "rejected", "this mailbox is frozen"
	}
	json.NewEncoder(w).Encode(answer)
}

// configure makes an installation as an administrator would.
func (d *demo) configure(ctx context.Context) error {
	state := filepath.Join(d.dir, "state")
	d.say("An installation of its own, with a voicemail system at " + d.hook + ".")
	err := d.quietly(ctx, "init", "--state-dir", state)
	if err != nil {
		return err
	}
	text := "state_dir: " + quote(state) + "\nwatch: {plain: false}\n"
	if s := d.server; s != nil {
		password := filepath.Join(d.dir, "bind.pw")
		if err := os.WriteFile(password, []byte(s.BindPassword()), 0o600); err != nil {
			return err
		}
		text += fmt.Sprintf("agreements:\n  - name: corp\n    servers: [%s]\n    ca_file: %s\n    bind: {dn: %s, password: {file: %s}}\n    base: %s\n",
			quote(s.TLSURL()), quote(s.CAFile()), quote(s.BindDN()), quote(password), quote(s.People()))
	}
	if d.unity != nil {
		if text, err = d.unity.configure(d, text); err != nil {
			return err
		}
	} else {
		text += fmt.Sprintf("voicemail:\n  - {name: voicemail, type: http, url: %s}\n", quote(d.hook))
	}
	text += "protect: {match: any, where: [{field: manager, op: is empty}]}   # the director\n"
	if err := os.WriteFile(d.config, []byte(text), 0o640); err != nil {
		return err
	}
	d.show(d.config, text)
	return d.command(ctx, "check")
}

func (d *demo) users(ctx context.Context) error {
	if d.server != nil {
		return d.command(ctx, "sync")
	}
	path := filepath.Join(d.dir, "users.csv")
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write([]string{"user_id", "first_name", "last_name", "manager", "department", "mail", "telephone"})
	for n := 1; n <= demoPeople; n++ {
		p := slapd.Somebody(n)
		manager := ""
		if p.Manager > 0 {
			manager = slapd.Somebody(p.Manager).UID
		}
		w.Write([]string{p.UID, p.FirstName, p.LastName, manager, p.Department, p.Mail, p.Telephone})
	}
	w.Flush()
	if err := os.WriteFile(path, b.Bytes(), 0o640); err != nil {
		return err
	}
	return d.command(ctx, "users", "import", path)
}

func (d *demo) jobFile() string { return filepath.Join(d.dir, "dept-11-14.yaml") }

func (d *demo) plan(ctx context.Context) error {
	text := `description: New PINs for departments 11 and 14
select:
  query:
    match: all
    where:
      - {field: department, op: is exactly, text: "11, 14"}
reset:
  pin: {generate: {length: 6}}
deliver: {sealed_csv: [` + d.identity.Recipient().String() + `]}
`
	if err := os.WriteFile(d.jobFile(), []byte(text), 0o640); err != nil {
		return err
	}
	d.show(d.jobFile(), text)
	return d.command(ctx, "run", d.jobFile(), "--dry-run")
}

func (d *demo) run(ctx context.Context) error {
	err := d.command(ctx, "run", d.jobFile(), "--yes")
	var e *exitError
	if errors.As(err, &e) && (e.code == exitSomeFailed || d.unity != nil && e.code == exitCouldNotRun) {
		err = nil // one mailbox refuses, on purpose; and a fault may stop the job
	}
	if err != nil {
		return err
	}
	log, err := os.ReadFile(filepath.Join(d.report(), "report.log"))
	if err != nil {
		return err
	}
	d.show(filepath.Join(d.report(), "report.log"), string(log))
	return nil
}

func (d *demo) report() string {
	return filepath.Join(d.dir, "state", "reports", "1-dept-11-14")
}

// verify verifies a user who was changed and the one who was refused, with the
// values that were drawn for them.
func (d *demo) verify(ctx context.Context) error {
	rows, err := d.secrets()
	if err != nil {
		return err
	}
	if len(rows) < 2 {
		return errors.New("nobody was given a PIN")
	}
	id, pin := rows[1][0], rows[1][5]
	d.say(fmt.Sprintf("The PINs are in secrets.csv.age, for the holder of the key alone. %s has a new\none, which the voicemail system has accepted:", id))
	if err := d.withInput(ctx, pin, "verify", id, "--pin"); err != nil {
		return err
	}
	d.say(fmt.Sprintf("%s was refused there, and so has no new PIN here:", demoRefused))
	err = d.withInput(ctx, pin, "verify", demoRefused, "--pin")
	var e *exitError
	if errors.As(err, &e) && e.code == exitWrong {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s has the PIN that its mailbox refused", demoRefused))
}

func (d *demo) say(text string) {
	fmt.Fprintf(d.a.out, "\n# %s\n", strings.ReplaceAll(text, "\n", "\n# "))
}

func (d *demo) show(path, text string) {
	fmt.Fprintf(d.a.out, "\n$ cat %s\n%s", path, text)
}

// command shows a command and what it prints, long tables cut.
func (d *demo) command(ctx context.Context, args ...string) error {
	return d.withInput(ctx, "", args...)
}

func (d *demo) withInput(ctx context.Context, input string, args ...string) error {
	typed := "dirpin " + strings.Join(args, " ")
	if input != "" {
		typed = "printf %s … | " + typed
		typed = strings.Replace(typed, "printf %s …", "printf "+input, 1)
	}
	fmt.Fprintf(d.a.out, "\n$ %s\n", typed)
	var out bytes.Buffer
	code := execute(ctx, append([]string{"--config", d.config}, args...), stdio{in: strings.NewReader(input), out: &out, err: d.a.out})
	d.cut(out.String())
	if code != exitOK {
		return &exitError{code: code}
	}
	return ctx.Err()
}

func (d *demo) quietly(ctx context.Context, args ...string) error {
	var out bytes.Buffer
	if code := execute(ctx, append([]string{"--config", d.config}, args...), stdio{in: strings.NewReader(""), out: &out, err: &out}); code != exitOK {
		return &exitError{code, errors.New(out.String())}
	}
	return nil
}

// cut prints the beginning and the end of a long output.
func (d *demo) cut(text string) {
	const first, last = 8, 3
	lines := strings.SplitAfter(text, "\n")
	if len(lines) > first+last+1 {
		rest := append([]string{fmt.Sprintf("… %d lines more\n", len(lines)-first-last)}, lines[len(lines)-last:]...)
		lines = append(lines[:first:first], rest...)
	}
	io.WriteString(d.a.out, strings.Join(lines, ""))
}

// quote makes a YAML string of a path or name.
func quote(s string) string {
	b, _ := json.Marshal(s) // strings cannot fail
	return string(b)
}
