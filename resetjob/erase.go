package resetjob

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// ErrCannotErase says that somebody cannot be erased as things stand.
var ErrCannotErase = errors.New("cannot be erased")

// Erasure is what an erasure came to.
type Erasure struct {
	Jobs    int
	Reports int
	Left    []string // what still holds the person and cannot be changed, for people
}

// Erase erases a person from the users, from what synchronizations and jobs
// remember, and from the reports of jobs. Reports come first: an erasure that
// was cut is done over by the same call.
func Erase(ctx context.Context, s *store.Store, id string) (*Erasure, error) {
	u := &user.User{UserID: id}
	var jobs []*store.Job
	err := s.Read(ctx, func(tx *store.Tx) error {
		found, err := tx.User(id)
		if err == nil {
			u = found
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		jobs, err = tx.JobsAbout(u.ID, u.UserID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if u.ID == 0 && len(jobs) == 0 {
		return nil, fmt.Errorf("nothing is held about %s: %w", id, store.ErrNotFound)
	}
	e := &Erasure{Jobs: len(jobs)}
	for _, j := range jobs {
		if j.Stage != store.StageClosed {
			return nil, fmt.Errorf("%s %w: job %d is %s and works on this user", id, ErrCannotErase, j.ID, j.State)
		}
	}
	for _, j := range jobs {
		if j.Report != "" {
			if err := e.report(j.Report, u.UserID); err != nil {
				return nil, fmt.Errorf("erasing %s from the report of job %d: %w", id, j.ID, err)
			}
		}
		if j.Key != nil && j.File != "" {
			e.Left = append(e.Left, fmt.Sprintf("job %d keeps its values and its list sealed until retry_within has passed", j.ID))
		}
	}
	return e, s.Write(ctx, func(tx *store.Tx) error { return tx.EraseUser(u) })
}

// report erases a user from the files of a report.
func (e *Erasure) report(dir, userID string) error {
	changed := false
	for name, erase := range map[string]func([]byte, string) ([]byte, error){
		"results.csv": eraseRows, "failed.csv": eraseRows, "failed.txt": eraseLines, "not-found.txt": eraseLines, "report.log": eraseDetails,
	} {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := erase(old, user.Fold(userID))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if bytes.Equal(text, old) {
			continue
		}
		changed = true
		if err := replaceFile(path, text); err != nil {
			return err
		}
	}
	if changed {
		e.Reports++
	}
	sealed := filepath.Join(dir, "secrets.csv.age")
	if _, err := os.Stat(sealed); err == nil {
		e.Left = append(e.Left, fmt.Sprintf("%s may hold the person, and only its recipients can read it: delete it when it is delivered; a copy of it, sealed in the same way, stays in the database", sealed))
	}
	return nil
}

// replaceFile writes a file anew, whole or not at all, with the rights that it
// has. A kill may leave the new one under a name that begins with ".new-".
func replaceFile(path string, text []byte) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(fi.Mode().Perm()), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// eraseRows empties the rows of a user in a CSV of a report, but for what
// became of them.
func eraseRows(text []byte, folded string) ([]byte, error) {
	bom, rest := cutBOM(text)
	r := csv.NewReader(bytes.NewReader(rest))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return text, err
	}
	at := slices.IndexFunc(rows[0], func(name string) bool { return csvColumnName(name) == "userid" }) // of failed.csv it is as it was given
	if at < 0 {
		return text, nil
	}
	kept := []string{"status", "result", "code", "password", "pin", "voicemail", "time"}
	changed := false
	var b strings.Builder
	for i, row := range rows {
		if i > 0 && at < len(row) && user.Fold(strings.TrimPrefix(row[at], "'")) == folded {
			changed = true
			for c := range row {
				switch {
				case c == at:
					row[c] = store.Erased
				case c < len(rows[0]) && rows[0][c] == csvReason:
					row[c], _, _ = strings.Cut(row[c], ":") // the code alone
				case c >= len(rows[0]) || !slices.Contains(kept, rows[0][c]):
					row[c] = ""
				}
			}
		}
		b.WriteString(csvLine(row...))
	}
	if !changed {
		return text, nil
	}
	return append(bom, b.String()...), nil
}

// eraseLines takes the lines of a user out of a list.
func eraseLines(text []byte, folded string) ([]byte, error) {
	bom, rest := cutBOM(text)
	var b strings.Builder
	for line := range strings.Lines(string(rest)) {
		if user.Fold(line) != folded {
			b.WriteString(line)
		}
	}
	return append(bom, b.String()...), nil
}

// eraseDetails empties the lines of report.log that name a user: "  jsmith
// (Jane Smith), line 3: in-history: …".
func eraseDetails(text []byte, folded string) ([]byte, error) {
	bom, rest := cutBOM(text)
	var b strings.Builder
	for line := range strings.Lines(string(rest)) {
		if named(line, folded) {
			_, end, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
			code, _, _ := strings.Cut(end, ": ")
			line = "  " + store.Erased + ": " + code + line[len(strings.TrimRight(line, "\r\n")):]
		}
		b.WriteString(line)
	}
	return append(bom, b.String()...), nil
}

func named(line, folded string) bool {
	id, ok := strings.CutPrefix(line, "  ")
	if !ok || strings.HasPrefix(id, " ") {
		return false
	}
	for i, c := range id {
		if rest := id[i:]; (strings.HasPrefix(rest, " (") || strings.HasPrefix(rest, ", line ") || c == ':') && user.Fold(id[:i]) == folded {
			return true
		}
	}
	return false
}

func cutBOM(text []byte) (bom, rest []byte) {
	const mark = "\xef\xbb\xbf"
	if bytes.HasPrefix(text, []byte(mark)) {
		return []byte(mark), text[len(mark):]
	}
	return nil, text
}
