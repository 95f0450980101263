package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dirpin/dirpin/internal/user"
)

// Find calls each for every user whom the query selects, as they are read:
// memory does not grow with their number. Users come in the order in which
// the store finds them first. The *user.User is used again for the next one.
func (t *Tx) Find(q *user.Query, each func(*user.User) error) error {
	where, args, err := t.where(q)
	if err != nil {
		return err
	}
	return t.find("SELECT "+userColumns+" FROM users WHERE "+where, args, each)
}

// FindFlagged is Find among the users on the work list, with why they are.
func (t *Tx) FindFlagged(q *user.Query, each func(*user.User, *FlagOf) error) error {
	where, args, err := t.where(q)
	if err != nil {
		return err
	}
	rows, err := t.rows("SELECT "+userColumns+", flags.job, flags.code, flags.at FROM flags JOIN users ON users.id = flags.user_ref WHERE "+where+" ORDER BY flags.at, users.id", args...)
	if err != nil {
		return fmt.Errorf("reading the work list: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f FlagOf
		u, err := scanUser(rows, &f.Job, &f.Code, &f.At)
		if err != nil {
			return err
		}
		if err := each(u, &f); err != nil {
			return err
		}
	}
	return rows.Err()
}

// CountMatching returns how many users the query selects.
func (t *Tx) CountMatching(q *user.Query) (int64, error) {
	where, args, err := t.where(q)
	if err != nil {
		return 0, err
	}
	var n int64
	err = t.row("SELECT count(*) FROM users WHERE "+where, args...).Scan(&n)
	return n, err
}

func (t *Tx) find(query string, args []any, each func(*user.User) error) error {
	rows, err := t.rows(query, args...)
	if err != nil {
		return fmt.Errorf("reading users: %w", err)
	}
	defer rows.Close()
	var u user.User
	for rows.Next() {
		if err := scanUserInto(&u, rows); err != nil {
			return fmt.Errorf("reading users: %w", err)
		}
		if err := each(&u); err != nil {
			return err
		}
	}
	return rows.Err()
}

// where translates a query into SQL that selects exactly the users for whom
// its Matcher is true.
func (t *Tx) where(q *user.Query) (string, []any, error) {
	w := sqlWriter{tx: t}
	if err := w.query(q); err != nil {
		return "", nil, fmt.Errorf("translating the query: %w", err)
	}
	return w.b.String(), w.args, nil
}

type sqlWriter struct {
	tx   *Tx
	b    strings.Builder
	args []any
}

func (w *sqlWriter) add(sql string, args ...any) {
	w.b.WriteString(sql)
	w.args = append(w.args, args...)
}

func (w *sqlWriter) query(q *user.Query) error {
	if q.Everyone {
		w.add("TRUE")
		return nil
	}
	joint := " AND "
	if q.Match == user.MatchAny {
		joint = " OR "
	}
	w.add("(")
	for i, term := range q.Where {
		if i > 0 {
			w.add(joint)
		}
		var err error
		if term.Group != nil {
			err = w.query(term.Group)
		} else {
			err = w.condition(term.Cond)
		}
		if err != nil {
			return err
		}
	}
	if len(q.Where) == 0 {
		// What a Matcher does with nothing to ask: AND is true, OR is false.
		w.add(map[bool]string{true: "FALSE", false: "TRUE"}[q.Match == user.MatchAny])
	}
	w.add(")")
	return nil
}

func (w *sqlWriter) condition(c *user.Condition) error {
	switch c.Field {
	case user.FieldDepartment:
		w.department(c)
		return nil
	case user.FieldAgreement, user.FieldStatus:
		return w.fewValued(c)
	}
	column := string(c.Field) + "_f"
	switch c.Op {
	case user.IsEmpty:
		w.add(column + " = ''")
	case user.IsNotEmpty:
		w.add(column + " > ''")
	default:
		w.alternatives(c.Folded(), func(text string) { w.compare(column, c.Op, text) })
	}
	return nil
}

// behindFirst is the column that SQLite has in no index of its own, only behind
// the first names.
const behindFirst = "middle_name_f"

// alternatives joins what each alternative gives with OR; none selects nobody.
func (w *sqlWriter) alternatives(texts []string, one func(text string)) {
	if len(texts) == 0 {
		w.add("FALSE")
		return
	}
	w.add("(")
	for i, text := range texts {
		if i > 0 {
			w.add(" OR ")
		}
		one(text)
	}
	w.add(")")
}

func (w *sqlWriter) compare(column string, op user.Op, text string) {
	switch op {
	case user.IsExactly:
		w.directly(column, func() { w.add(column+" = ?", text) })
	case user.BeginsWith:
		w.directly(column, func() { w.prefix(column, text) })
	case user.Contains:
		w.narrow(func() { w.add(w.tx.dialect.contains(column), text) })
	case user.EndsWith:
		ends, args := w.tx.dialect.endsWith(column, text)
		w.narrow(func() { w.add(ends, args...) })
	}
}

// directly writes a condition by which an index is searched, if the column has
// one of its own.
func (w *sqlWriter) directly(column string, condition func()) {
	if column == behindFirst {
		w.narrow(condition)
		return
	}
	condition()
}

// narrow writes conditions of which one is enough, each for an index of its
// own: SQLite reads that instead of the wide table if it is told to.
func (w *sqlWriter) narrow(conditions ...func()) {
	begin, or := "users.id IN (SELECT id FROM users WHERE ", " UNION ALL SELECT id FROM users WHERE "
	if w.tx.dialect == postgres {
		begin, or = "(", " OR "
	}
	for i, condition := range conditions {
		if i > 0 {
			begin = or
		}
		w.add(begin)
		condition()
	}
	w.add(")")
}

// indexedRunes is how much of a user's departments PostgreSQL has in its index.
const indexedRunes = 512

// prefix selects by a range, which an index serves and in which no character
// has a meaning of its own.
func (w *sqlWriter) prefix(column, text string) {
	if w.tx.dialect == postgres && column == "department_f" {
		if utf8.RuneCountInString(text) > indexedRunes {
			w.add("left(department_f, "+strconv.Itoa(indexedRunes)+") = left(?, "+strconv.Itoa(indexedRunes)+") AND starts_with(department_f, ?)", text, text)
			return
		}
		column = "left(department_f, " + strconv.Itoa(indexedRunes) + ")"
	}
	if end, ok := after(text); ok {
		w.add("("+column+" >= ? AND "+column+" < ?)", text, end)
		return
	}
	w.add(column+" >= ?", text)
}

// after returns the first text in byte order behind everything that begins
// with prefix; false where there is none.
func after(prefix string) (string, bool) {
	for prefix != "" {
		r, n := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-n]
		switch {
		case r == utf8.MaxRune:
			continue
		case r == 0xD7FF:
			r = 0xE000 // over the surrogates, which UTF-8 does not have
		default:
			r++
		}
		return prefix + string(r), true
	}
	return "", false
}

// department compares with every department of a user. The column holds each
// behind a newline, so the first one is found by the index; users with several
// have an index of their own.
func (w *sqlWriter) department(c *user.Condition) {
	switch c.Op {
	case user.IsEmpty:
		w.add("departments = 0")
		return
	case user.IsNotEmpty:
		w.add("departments > 0")
		return
	}
	w.alternatives(c.Folded(), func(text string) {
		inside := text
		if c.Op == user.BeginsWith || c.Op == user.IsExactly {
			inside = "\n" + inside
		}
		if c.Op == user.EndsWith || c.Op == user.IsExactly {
			inside += "\n"
		}
		inText := func() { w.add(w.tx.dialect.contains("department_f"), inside) }
		if inside[0] != '\n' {
			w.narrow(inText)
			return
		}
		w.narrow(func() { w.prefix("department_f", inside) }, func() { w.add("departments > 1 AND "); inText() })
	})
}

// fewValued asks the matcher which of the few values that occur fit.
func (w *sqlWriter) fewValued(c *user.Condition) error {
	values := []string{string(user.Local), string(user.Active), string(user.Inactive)}
	if c.Field == user.FieldAgreement {
		var err error
		if values, err = w.tx.agreementNames(); err != nil {
			return err
		}
	}
	m := (&user.Query{Where: []user.Term{{Cond: c}}}).Matcher()
	var fit []any
	for _, v := range values {
		if m.Match(&user.User{Status: user.Status(v), Agreement: v}) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		w.add("FALSE")
		return nil
	}
	w.add(string(c.Field)+" IN ("+placeholders(len(fit))+")", fit...)
	return nil
}

// agreementNames returns every agreement that a user can have; "" is that of
// local users.
func (t *Tx) agreementNames() ([]string, error) {
	rows, err := t.rows("SELECT name FROM agreements")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := []string{""}
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		names = append(names, n)
	}
	return names, rows.Err()
}

// FindExact is Find for users whose field is exactly a folded value, made for
// asking many times.
func (t *Tx) FindExact(f user.Field, folded string, each func(*user.User) error) error {
	if f == user.FieldDepartment || f == user.FieldMiddleName {
		return t.Find(&user.Query{Where: []user.Term{{Cond: &user.Condition{Field: f, Op: user.IsExactly, Text: []string{folded}}}}}, each)
	}
	return t.find("SELECT "+userColumns+" FROM users WHERE "+string(f)+"_f = ?", []any{folded}, each)
}

// HistoryOf returns the newest tags of the users' values, per user.
func (t *Tx) HistoryOf(kind string, refs []int64, limit int) (map[int64][][]byte, error) {
	tags := make(map[int64][][]byte)
	if len(refs) == 0 || limit == 0 {
		return tags, nil
	}
	for part := range slices.Chunk(refs, amongMost) {
		if err := t.historyOf(kind, part, limit, tags); err != nil {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
	}
	return tags, nil
}

func (t *Tx) historyOf(kind string, refs []int64, limit int, tags map[int64][][]byte) error {
	among, args := t.dialect.among("user_ref", refs)
	rows, err := t.rows("SELECT user_ref, tag FROM history WHERE kind = ? AND "+among+" ORDER BY user_ref, version DESC", slices.Concat([]any{kind}, args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ref int64
		var tag []byte
		if err := rows.Scan(&ref, &tag); err != nil {
			return err
		}
		if len(tags[ref]) < limit {
			tags[ref] = append(tags[ref], tag)
		}
	}
	return rows.Err()
}
