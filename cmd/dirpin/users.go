package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/spf13/cobra"
)

func newUsersCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "Local users, and the helpdesk's work on one user", Args: groupArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.AddCommand(
		newUsersImportCommand(a), newUsersAddCommand(a), newUsersShowCommand(a), newUsersRemoveCommand(a), newUsersUnflagCommand(a),
		newUsersResetCommand(a), newUsersAdoptCommand(a), newUsersConvertCommand(a), newUsersExportCommand(a), newUsersEraseCommand(a),
		newLockCommand(a, "lock", "Lock a credential until it is unlocked", func(c *store.Credential) { c.Locked = true }),
		newLockCommand(a, "unlock", "Unlock a credential and forget its wrong attempts", func(c *store.Credential) {
			c.Locked, c.Attempts, c.AttemptsSince, c.LockedUntil = false, 0, time.Time{}, time.Time{}
		}),
		newLockCommand(a, "require-change", "Make the user change it at the next login", func(c *store.Credential) { c.MustChange = true }),
	)
	return cmd
}

func newUsersAddCommand(a *app) *cobra.Command {
	u := user.User{Status: user.Local}
	var departments []string
	cmd := &cobra.Command{
		Use: "add ID", Short: "Add a local user", Args: cobra.ExactArgs(1),
		Example: `  dirpin users add jsmith --first-name Jane --last-name Smith --department 12 --department "Sales, EMEA"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			u.UserID, u.Departments = strings.TrimSpace(args[0]), departments
			if err := checkLocalUser(&u); err != nil {
				return withCode(exitUsage, err)
			}
			return a.withStore(cmd.Context(), func(s *store.Store) error {
				err := s.Write(cmd.Context(), func(tx *store.Tx) error { return tx.AddUser(&u) })
				if errors.Is(err, store.ErrExists) {
					return usagef("%v: see dirpin users show %s", err, u.UserID)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.FirstName, "first-name", "", "")
	f.StringVar(&u.MiddleName, "middle-name", "", "")
	f.StringVar(&u.LastName, "last-name", "", "")
	f.StringVar(&u.Manager, "manager", "", "the manager's user id")
	f.StringArrayVar(&departments, "department", nil, "may be given several times")
	f.StringVar(&u.Mail, "mail", "", "")
	f.StringVar(&u.Telephone, "telephone", "", "")
	f.StringVar(&u.Language, "language", "", "")
	return cmd
}

// showJSON is what `users show --json` prints.
type showJSON struct {
	userJSON
	PIN      *credentialJSON `json:"pin"`
	Password *credentialJSON `json:"password"`
	Flag     *flagJSON       `json:"flagged"`
	Reason   string          `json:"inactive_reason"`
}

type credentialJSON struct {
	ChangedAt     string `json:"changed_at"`
	MustChange    bool   `json:"must_change"`
	CannotChange  bool   `json:"cannot_change"`
	DoesNotExpire bool   `json:"does_not_expire"`
	Locked        bool   `json:"locked"`
	LockedUntil   string `json:"locked_until"`
	Attempts      int    `json:"failed_attempts"`
	Job           int64  `json:"job"`
}

func newUsersShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show all that is held about a user", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(s *store.Store) error {
				return s.Read(cmd.Context(), func(tx *store.Tx) error { return runUsersShow(a, tx, args[0]) })
			})
		},
	}
}

func runUsersShow(a *app, tx *store.Tx, id string) error {
	u, err := findUser(tx, id)
	if err != nil {
		return err
	}
	v, err := showOf(tx, u)
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.out).Encode(v)
	}
	status := u.Status.Label()
	if u.InactiveReason != "" {
		status += " (" + u.InactiveReason + ")"
	}
	for _, l := range [][2]string{{"User ID", u.UserID}, {"First Name", u.FirstName}, {"Middle Name", u.MiddleName}, {"Last Name", u.LastName},
		{"Manager", u.Manager}, {"Department Name", u.Department()}, {"Mail", u.Mail}, {"Telephone", u.Telephone}, {"Language", u.Language},
		{"LDAP Sync Status", status}, {"Agreement", u.Agreement}, {"DN", u.DN}, {"Key", u.Key},
		{"PIN", describeCredential(v.PIN)}, {"Password", describeCredential(v.Password)}, {"Flagged", describeFlag(v.Flag)}} {
		if l[1] != "" {
			fmt.Fprintf(a.out, "%-17s %s\n", l[0], printable(l[1]))
		}
	}
	return nil
}

// showOf gathers what is held about a user.
func showOf(tx *store.Tx, u *user.User) (*showJSON, error) {
	pin, err := tx.Credential(u.ID, store.PIN)
	if err != nil {
		return nil, err
	}
	password, err := tx.Credential(u.ID, store.Password)
	if err != nil {
		return nil, err
	}
	flag, err := tx.FlagOf(u.ID)
	if err != nil {
		return nil, err
	}
	v := &showJSON{userJSON: jsonOf(u), PIN: credentialOf(pin), Password: credentialOf(password), Reason: u.InactiveReason}
	if flag != nil {
		v.Flag = &flagJSON{flag.Job, time.UnixMilli(flag.At).UTC().Format(time.RFC3339), flag.Code}
	}
	return v, nil
}

func credentialOf(c store.Credential) *credentialJSON {
	if c.Version == 0 {
		return nil
	}
	return &credentialJSON{stamp(c.ChangedAt), c.MustChange, c.CannotChange, c.DoesNotExpire, c.Locked, stamp(c.LockedUntil), c.Attempts, c.Job}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func describeCredential(c *credentialJSON) string {
	if c == nil {
		return "none"
	}
	var parts []string
	if c.ChangedAt == "" {
		parts = append(parts, "none")
	} else {
		parts = append(parts, "set "+c.ChangedAt)
	}
	if c.Job != 0 {
		parts = append(parts, fmt.Sprintf("by job %d", c.Job))
	}
	for _, f := range []struct {
		on   bool
		text string
	}{{c.MustChange, "must be changed at the next login"}, {c.CannotChange, "cannot be changed by the user"}, {c.DoesNotExpire, "does not expire"},
		{c.Locked, "locked by an administrator"}, {c.LockedUntil != "", "locked until " + c.LockedUntil}, {c.Attempts > 0, fmt.Sprintf("%d wrong attempts", c.Attempts)}} {
		if f.on {
			parts = append(parts, f.text)
		}
	}
	return strings.Join(parts, ", ")
}

func describeFlag(f *flagJSON) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%s by job %d, %s", f.Time, f.Job, f.Code)
}

func newUsersRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove a local user", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(cmd.Context(), args[0], func(tx *store.Tx, u *user.User) error {
				if u.Status != user.Local {
					return usagef("user %s belongs to agreement %s: it leaves when the directory has it no longer", u.UserID, u.Agreement)
				}
				return tx.RemoveUser(u.ID)
			})
		},
	}
}

func newUsersUnflagCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unflag ID", Short: "Take a user off the work list", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(cmd.Context(), args[0], func(tx *store.Tx, u *user.User) error {
				was, err := tx.Unflag(u.ID)
				if err == nil && !was {
					fmt.Fprintf(a.err, "user %s was not on the work list\n", u.UserID)
				}
				return err
			})
		},
	}
}

// newLockCommand makes a command that changes the flags of a user's
// credentials.
func newLockCommand(a *app, name, short string, change func(*store.Credential)) *cobra.Command {
	var pin, password bool
	cmd := &cobra.Command{
		Use: name + " ID", Short: short, Args: cobra.ExactArgs(1),
		Long: short + ". Both the PIN and the password, unless one of them is named. This changes the local store only.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeUser(cmd.Context(), args[0], func(tx *store.Tx, u *user.User) error {
				for kind, named := range map[string]bool{store.PIN: pin, store.Password: password} {
					if !named && (pin || password) {
						continue
					}
					c, err := tx.Credential(u.ID, kind)
					if err != nil {
						return err
					}
					change(&c)
					if _, err := tx.SetCredential(u.ID, kind, c); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&pin, "pin", false, "the PIN only")
	cmd.Flags().BoolVar(&password, "password", false, "the password only")
	return cmd
}

// changeUser runs fn on one user in a transaction.
func (a *app) changeUser(ctx context.Context, id string, fn func(*store.Tx, *user.User) error) error {
	return a.withStore(ctx, func(s *store.Store) error {
		return s.Write(ctx, func(tx *store.Tx) error {
			u, err := findUser(tx, id)
			if err != nil {
				return err
			}
			return fn(tx, u)
		})
	})
}

func findUser(tx *store.Tx, id string) (*user.User, error) {
	u, err := tx.User(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, usagef("there is no user %s: dirpin find \"user_id contains …\" searches", id)
	}
	return u, err
}
