package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/user"
	"pgregory.net/rapid"
)

// genText draws text that has made somebody's matching wrong before.
func genText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "a", "A", "ab", "b", "ba", "Straße", "STRASSE", "strasse", "ſ", "s", "İ", "i̇", "ı",
			"Zoe\u0308", "zoë", "100%", "1_0", "%", "_", "\\", "\\%", "a  b", "a b", "A\u00a0B", "ﬁ", "fi", "日本", "日", "🎉", "\U0010FFFF", "\uD7FF", "\uE000",
			"Sales, EMEA", "12", "1", "2", "'", "\"", "*", "?", "[a]", "null", "[", "-", "a\nb", "Σ", "ς", "σ"}),
		rapid.StringOfN(rapid.RuneFrom([]rune("aAbB %_ßſ日")), 0, 5, -1),
	)
}

func genUser(id int) *rapid.Generator[*user.User] {
	return rapid.Custom(func(t *rapid.T) *user.User {
		u := &user.User{
			UserID:    fmt.Sprintf("%s#%d", genText().Draw(t, "user_id"), id),
			FirstName: genText().Draw(t, "first"), MiddleName: genText().Draw(t, "middle"), LastName: genText().Draw(t, "last"),
			Manager: genText().Draw(t, "manager"), Mail: genText().Draw(t, "mail"), Telephone: genText().Draw(t, "telephone"),
			Departments: rapid.SliceOfN(genText(), 0, 3).Draw(t, "departments"),
			Status:      rapid.SampledFrom([]user.Status{user.Local, user.Active, user.Inactive}).Draw(t, "status"),
		}
		if u.Status != user.Local {
			u.Agreement = rapid.SampledFrom([]string{"corp", "Öst  2"}).Draw(t, "agreement")
			u.Key = fmt.Sprint("key-", id)
		}
		return u
	})
}

func genQuery(depth int) *rapid.Generator[*user.Query] {
	return rapid.Custom(func(t *rapid.T) *user.Query {
		q := &user.Query{Match: rapid.SampledFrom([]user.Match{user.MatchAll, user.MatchAny}).Draw(t, "match")}
		for range rapid.IntRange(0, 3).Draw(t, "terms") {
			if depth > 0 && rapid.IntRange(0, 4).Draw(t, "group") == 0 {
				q.Where = append(q.Where, user.Term{Group: genQuery(depth-1).Draw(t, "sub")})
				continue
			}
			c := &user.Condition{
				Field: rapid.SampledFrom(user.Fields()).Draw(t, "field"),
				Op:    rapid.SampledFrom(user.Ops()).Draw(t, "op"),
			}
			if c.Op.NeedsText() {
				c.Text = rapid.SliceOfN(genText(), 1, 3).Draw(t, "text")
			}
			q.Where = append(q.Where, user.Term{Cond: c})
		}
		return q
	})
}

// The matcher defines what a query means; SQL must select the same users.
func TestFindAgreesWithMatcher(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		ctx := context.Background()
		if err := s.Write(ctx, func(tx *Tx) error {
			_, err := tx.exec("INSERT INTO agreements (name) VALUES ('corp'), ('Öst  2')")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(1, 8).Draw(t, "users")
			users := make([]*user.User, n)
			err := s.Write(ctx, func(tx *Tx) error {
				if _, err := tx.exec("DELETE FROM users"); err != nil {
					return err
				}
				for i := range users {
					users[i] = genUser(i).Draw(t, "user")
					if err := tx.AddUser(users[i]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				q := genQuery(2).Draw(t, "query")
				m := q.Matcher()
				var want, got []string
				for _, u := range users {
					if m.Match(u) {
						want = append(want, u.UserID)
					}
				}
				err := s.Read(ctx, func(tx *Tx) error {
					return tx.Find(q, func(u *user.User) error { got = append(got, u.UserID); return nil })
				})
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("SQL selects %q, the matcher %q", got, want)
				}
			}
		})
	})
}

func TestUserComesBackAsStored(t *testing.T) {
	each(t, func(t *testing.T, open opener) {
		s := open(t, nil)
		ctx := context.Background()
		for i, departments := range [][]string{nil, {"12"}, {"12", "Sales, EMEA"}, {"[odd"}, {""}} {
			u := user.User{UserID: fmt.Sprint("JSmith", i), FirstName: "Jörg", LastName: "De  Smet", Departments: departments, Status: user.Local, Language: "nl"}
			if err := s.Write(ctx, func(tx *Tx) error { return tx.AddUser(&u) }); err != nil {
				t.Fatal(err)
			}
			err := s.Read(ctx, func(tx *Tx) error {
				got, err := tx.User(fmt.Sprint(" jsmith", i))
				if err != nil {
					return err
				}
				if got.UserID != u.UserID || !slices.Equal(got.Departments, departments) || got.ID != u.ID || got.LastName != "De  Smet" {
					t.Errorf("stored %+v, got %+v", u, got)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What is asked of a name, a manager, a department or a user id is answered
// from an index, without reading all of the table.
func TestSearchesHaveAnIndex(t *testing.T) {
	s := openWith(t, nil, Options{Path: filepath.Join(t.TempDir(), "dirpin.db")})
	for _, f := range []user.Field{user.FieldUserID, user.FieldFirstName, user.FieldMiddleName, user.FieldLastName, user.FieldManager, user.FieldDepartment} {
		for _, op := range []user.Op{user.IsExactly, user.BeginsWith, user.Contains, user.EndsWith} {
			q := &user.Query{Where: []user.Term{{Cond: &user.Condition{Field: f, Op: op, Text: []string{"smith"}}}}}
			err := s.Read(context.Background(), func(tx *Tx) error {
				where, args, err := tx.where(q)
				if err != nil {
					return err
				}
				rows, err := tx.rows("EXPLAIN QUERY PLAN SELECT "+userColumns+" FROM users WHERE "+where, args...)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var id, parent, unused int
					var step string
					if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
						return err
					}
					if strings.Contains(step, "SCAN users") && !strings.Contains(step, "INDEX") {
						t.Errorf("%s %s: %s", f, op, step)
					}
				}
				return rows.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
