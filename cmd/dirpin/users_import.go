package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/spf13/cobra"
)

const (
	maxImport       = 1 << 30
	maxImportFaults = 100
	maxField        = 1024 // bytes, as of an entry of a directory
	maxUserID       = 255
)

func newUsersImportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE.csv", Short: "Add local users from a CSV file, all or none", Args: cobra.ExactArgs(1),
		Long: `Add local users from a CSV file with a header. Columns: ` + strings.Join(importColumns, ", ") + `.
Only user_id is needed. A semicolon separates departments. password_hash and
pin_hash take argon2id (PHC) or bcrypt. All of the file is added, or none of it.`,
		RunE: func(cmd *cobra.Command, args []string) error { return runUsersImport(cmd.Context(), a, args[0]) },
	}
}

var importColumns = []string{"user_id", "first_name", "middle_name", "last_name", "manager", "department", "mail", "telephone", "language", "password_hash", "pin_hash"}

// imported is a row of the file.
type imported struct {
	line     int
	user     user.User
	pin      string // hashes
	password string
}

func runUsersImport(ctx context.Context, a *app, path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return withCode(exitUsage, err)
	case fi.Size() > maxImport:
		return usagef("%s: more than %d MiB: import it in parts", path, maxImport>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return withCode(exitUsage, err)
	}
	rows, faults := parseImport(path, data)
	if faults != nil {
		return withCode(exitUsage, faults)
	}
	return a.withStore(ctx, func(s *store.Store) error {
		var taken strictyaml.Faults
		err := s.Write(ctx, func(tx *store.Tx) error {
			for i := range rows {
				err := storeImported(tx, &rows[i])
				if errors.Is(err, store.ErrExists) {
					taken = append(taken, strictyaml.Fault{File: path, Line: rows[i].line, Column: 1, Message: fmt.Sprintf("user %s exists already", rows[i].user.UserID)})
					if len(taken) == maxImportFaults {
						break
					}
					continue
				}
				if err != nil {
					return fmt.Errorf("%s:%d: %w", path, rows[i].line, err)
				}
			}
			if taken != nil {
				return taken
			}
			return nil
		})
		if taken != nil {
			fmt.Fprintln(a.err, taken)
			return usagef("nothing was imported")
		}
		if err == nil {
			fmt.Fprintf(a.err, "%d users imported.\n", len(rows))
		}
		return err
	})
}

func storeImported(tx *store.Tx, r *imported) error {
	if err := tx.AddUser(&r.user); err != nil {
		return err
	}
	for kind, hash := range map[string]string{store.PIN: r.pin, store.Password: r.password} {
		if hash == "" {
			continue
		}
		if _, err := tx.SetCredential(r.user.ID, kind, store.Credential{Hash: hash, ChangedAt: tx.Now()}); err != nil {
			return err
		}
	}
	return nil
}

// parseImport reads the whole file and says everything that is wrong with it.
func parseImport(path string, data []byte) ([]imported, strictyaml.Faults) {
	text, faults := strictyaml.DecodeText(path, data)
	if faults != nil {
		return nil, faults
	}
	p := importParser{path: path, r: csv.NewReader(strings.NewReader(text)), seen: make(map[string]int)}
	p.r.ReuseRecord = true
	p.all()
	if p.faults != nil {
		return nil, p.faults
	}
	return p.rows, nil
}

type importParser struct {
	path   string
	r      *csv.Reader
	at     []int // the field of each column, in importColumns
	rows   []imported
	seen   map[string]int // line of each folded user id
	faults strictyaml.Faults
}

func (p *importParser) fault(line int, format string, args ...any) {
	if len(p.faults) < maxImportFaults {
		p.faults = append(p.faults, strictyaml.Fault{File: p.path, Line: line, Column: 1, Message: fmt.Sprintf(format, args...)})
	}
}

func (p *importParser) all() {
	head, err := p.r.Read()
	if err != nil {
		p.broken(err, "the file is empty: it needs a header and a line a user")
		return
	}
	p.header(head)
	if p.faults != nil {
		return
	}
	for {
		cells, err := p.r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.broken(err, "")
			if !errors.Is(err, csv.ErrFieldCount) {
				return
			}
			continue
		}
		line, _ := p.r.FieldPos(0)
		p.row(line, cells)
	}
	if len(p.rows) == 0 && p.faults == nil {
		p.fault(1, "there is no user in the file")
	}
}

func (p *importParser) broken(err error, empty string) {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		p.fault(1, "%s", empty)
	case errors.As(err, &parse):
		p.fault(parse.StartLine, "%v", parse.Err)
	default:
		p.fault(1, "%v", err)
	}
}

func (p *importParser) header(head []string) {
	for _, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		i := slices.Index(importColumns, name)
		switch {
		case i < 0 && len(head) == 1 && strings.ContainsAny(name, ";\t"):
			p.fault(1, "commas separate the columns here, not semicolons or tabs")
		case i < 0:
			p.fault(1, "unknown column %q; the columns are %s", name, strings.Join(importColumns, ", "))
		case slices.Contains(p.at, i):
			p.fault(1, "column %s stands twice", name)
		}
		p.at = append(p.at, i)
	}
	if !slices.Contains(p.at, 0) && p.faults == nil {
		p.fault(1, "the column user_id is missing")
	}
}

func (p *importParser) row(line int, cells []string) {
	r := imported{line: line, user: user.User{Status: user.Local}}
	u := &r.user
	for i, cell := range cells {
		cell = strings.Clone(strings.TrimSpace(cell))
		switch importColumns[p.at[i]] {
		case "user_id":
			u.UserID = cell
		case "first_name":
			u.FirstName = cell
		case "middle_name":
			u.MiddleName = cell
		case "last_name":
			u.LastName = cell
		case "manager":
			u.Manager = cell
		case "department":
			for d := range strings.SplitSeq(cell, ";") {
				if d = strings.TrimSpace(d); d != "" {
					u.Departments = append(u.Departments, d)
				}
			}
		case "mail":
			u.Mail = cell
		case "telephone":
			u.Telephone = cell
		case "language":
			u.Language = cell
		case "password_hash":
			r.password = cell
			p.hash(line, credential.Password, cell)
		case "pin_hash":
			r.pin = cell
			p.hash(line, credential.PIN, cell)
		}
	}
	if err := checkLocalUser(u); err != nil {
		p.fault(line, "%v", err)
		return
	}
	folded := user.Fold(u.UserID)
	if first := p.seen[folded]; first != 0 {
		p.fault(line, "user %s stands in line %d already", u.UserID, first)
		return
	}
	p.seen[folded] = line
	p.rows = append(p.rows, r)
}

func (p *importParser) hash(line int, kind credential.Kind, cell string) {
	if cell == "" {
		return
	}
	if err := credential.ValidHash(kind, cell); err != nil {
		p.fault(line, "%s_hash: %v", kind, err)
	}
}

// checkLocalUser refuses what no directory would be let through with either.
func checkLocalUser(u *user.User) error {
	if user.Fold(u.UserID) == "" {
		return errors.New("user_id is empty")
	}
	fields := map[string]string{"user_id": u.UserID, "first_name": u.FirstName, "middle_name": u.MiddleName, "last_name": u.LastName,
		"manager": u.Manager, "mail": u.Mail, "telephone": u.Telephone, "language": u.Language}
	for i, d := range u.Departments {
		fields[fmt.Sprintf("department %d", i+1)] = d
	}
	for name, v := range fields {
		most := maxField
		if name == "user_id" || name == "manager" {
			most = maxUserID
		}
		switch {
		case len(v) > most:
			return fmt.Errorf("%s: %d bytes; at most %d are taken", name, len(v), most)
		case !utf8.ValidString(v), strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("%s: control characters or bytes that are not UTF-8", name)
		}
	}
	return nil
}
