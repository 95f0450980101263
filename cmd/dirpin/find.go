package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/spf13/cobra"
)

type findOptions struct {
	any     bool
	flagged bool
	job     string
	csv     bool
	source  string // an agreement, whose directory is asked
}

func newFindCommand(a *app) *cobra.Command {
	var o findOptions
	cmd := &cobra.Command{
		Use:   "find [CRITERION…]",
		Short: "List users",
		Long: `List the users of the local store that fit every criterion; all users where
there is none. A criterion is one argument: field, operator, text.

Fields:    user_id, first_name, middle_name, last_name, manager, department,
           agreement, status, mail, telephone (or their labels: "Last Name")
Operators: begins with, contains, is exactly, ends with, is empty, is not empty

In department, commas separate alternatives; "…" protects a comma.`,
		Example: `  dirpin find "department is exactly 12, 14" "last name begins with S"
  dirpin find --any "manager is empty" "department is empty" --csv >odd.csv
  dirpin find --job night-shift.yaml
  dirpin find --agreement corp "department is exactly 12"`,
		RunE: func(cmd *cobra.Command, args []string) error { return runFind(cmd.Context(), a, args, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.any, "any", false, "users that fit any criterion, instead of all")
	f.BoolVar(&o.flagged, "flagged", false, "only users on the work list, with the job that flagged them")
	f.StringVar(&o.job, "job", "", "list whom this job `FILE` selects")
	f.StringVar(&o.source, "agreement", "", "ask the directory of the agreement `NAME` itself")
	f.BoolVar(&o.csv, "csv", false, "print CSV")
	return cmd
}

// userJSON is a user as --json prints it.
type userJSON struct {
	UserID     string      `json:"user_id"`
	FirstName  string      `json:"first_name"`
	MiddleName string      `json:"middle_name"`
	LastName   string      `json:"last_name"`
	Manager    string      `json:"manager"`
	Department string      `json:"department"`
	Mail       string      `json:"mail"`
	Telephone  string      `json:"telephone"`
	Language   string      `json:"language"`
	Status     user.Status `json:"status"`
	Agreement  string      `json:"agreement"`
	DN         string      `json:"dn"`
	Key        string      `json:"key"`
	*flagJSON
}

type flagJSON struct {
	Job  int64  `json:"job"`
	Time string `json:"time"`
	Code string `json:"code"`
}

func jsonOf(u *user.User) userJSON {
	return userJSON{u.UserID, u.FirstName, u.MiddleName, u.LastName, u.Manager, u.Department(), u.Mail, u.Telephone,
		u.Language, u.Status, u.Agreement, u.DN, u.Key, nil}
}

func runFind(ctx context.Context, a *app, criteria []string, o findOptions) error {
	q, err := queryOf(criteria, o.any)
	if err != nil {
		return err
	}
	if o.job != "" && len(criteria) > 0 {
		return usagef("find: either criteria or --job")
	}
	if o.source != "" && (o.job != "" || o.flagged) {
		return usagef("find: --agreement goes with criteria alone")
	}
	p := newUserPrinter(a, o)
	switch {
	case o.source != "":
		err = findLive(ctx, a, o.source, q, p)
	case o.job != "":
		err = findJob(ctx, a, o.job, p)
	default:
		err = a.withStore(ctx, func(s *store.Store) error {
			return s.Read(ctx, func(tx *store.Tx) error {
				if o.flagged {
					return tx.FindFlagged(q, p.flagged)
				}
				return tx.Find(q, func(u *user.User) error { return p.print(ctx, u, nil) })
			})
		})
	}
	if err != nil {
		return err
	}
	return p.flush()
}

// findLive lists whom the directory itself has. A part of an answer is printed
// too, and then said to be one.
func findLive(ctx context.Context, a *app, agreement string, q *user.Query, p *userPrinter) error {
	return a.withSession(ctx, func(s *session) error {
		err := live{a, s}.Select(ctx, agreement, q, func(u *user.User) error { return p.print(ctx, u, nil) })
		if err == nil || p.n == 0 {
			return err
		}
		return errors.Join(p.flush(), fmt.Errorf("the list is not complete: %w", err))
	})
}

// queryOf reads criteria as a query; none selects everyone.
func queryOf(criteria []string, any bool) (*user.Query, error) {
	if len(criteria) == 0 {
		return user.All(), nil
	}
	q := &user.Query{Match: user.MatchAll}
	if any {
		q.Match = user.MatchAny
	}
	for _, c := range criteria {
		t, err := user.ParseCriterion(c)
		if err != nil {
			return nil, usagef("%w%s", err, criterionHint(criteria, c))
		}
		q.Where = append(q.Where, t)
	}
	return q, nil
}

// criterionHint says what may have been meant by a criterion that is none.
func criterionHint(all []string, this string) string {
	if joined := strings.Join(all, " "); len(all) > 1 {
		if _, err := user.ParseCriterion(joined); err == nil {
			return fmt.Sprintf("; a criterion is one argument, quote it: dirpin find %q", joined)
		}
	}
	var fields []string
	for _, f := range user.Fields() {
		fields = append(fields, string(f))
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(this)), " ")
	if near := strictyaml.Nearest(first, fields); near != "" && near != first {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return `; for example "department is exactly 12"`
}

// userPrinter prints users one by one in the form that was asked for.
type userPrinter struct {
	table *table
	csv   *csv.Writer
	json  *json.Encoder
	out   *bufio.Writer
	flags bool
	n     int
}

func newUserPrinter(a *app, o findOptions) *userPrinter {
	p := &userPrinter{flags: o.flagged, out: bufio.NewWriterSize(a.out, 64<<10)}
	switch {
	case a.json:
		p.json = json.NewEncoder(p.out)
		p.json.SetEscapeHTML(false)
	case o.csv:
		p.csv = csv.NewWriter(p.out)
		head := []string{"user_id", "first_name", "middle_name", "last_name", "manager", "department", "status"}
		if o.flagged {
			head = append(head, "job", "time", "code")
		}
		p.csv.Write(head)
	default:
		head := []string{"User ID", "First Name", "Middle Name", "Last Name", "Manager", "Department Name", "LDAP Sync Status"}
		if o.flagged {
			head = append(head, "Job", "Time", "Code")
		}
		p.table = newTable(a.out, head...)
	}
	return p
}

func (p *userPrinter) flagged(u *user.User, f *store.FlagOf) error {
	return p.print(context.Background(), u, f)
}

func (p *userPrinter) print(ctx context.Context, u *user.User, f *store.FlagOf) error {
	if p.n++; p.n%1000 == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	var flag *flagJSON
	if f != nil {
		flag = &flagJSON{f.Job, time.UnixMilli(f.At).UTC().Format(time.RFC3339), f.Code}
	}
	if p.json != nil {
		v := jsonOf(u)
		v.flagJSON = flag
		return p.json.Encode(v)
	}
	status := string(u.Status)
	if p.table != nil {
		status = u.Status.Label()
	}
	cells := []string{u.UserID, u.FirstName, u.MiddleName, u.LastName, u.Manager, u.Department(), status}
	if flag != nil {
		cells = append(cells, itoa(flag.Job), flag.Time, flag.Code)
	}
	if p.csv != nil {
		return p.csv.Write(cells)
	}
	return p.table.row(cells...)
}

func (p *userPrinter) flush() error {
	switch {
	case p.table != nil:
		return p.table.flush()
	case p.csv != nil:
		p.csv.Flush()
		if err := p.csv.Error(); err != nil {
			return err
		}
	}
	return p.out.Flush()
}
