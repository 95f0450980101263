package ldapsync_test

import (
	"strings"
	"testing"

	"github.com/dirpin/dirpin/internal/roster"
	"github.com/dirpin/dirpin/ldapsync"
)

// Rule 25: an agreement that got another name goes on where the old one was,
// by its cookie; unless that is damaged, or stands for another scope.
func TestRenamedAgreementGoesOnByItsCookie(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*bench)
		why    string // everything is read; "": it is not
	}{
		{"as it was", func(*bench) {}, ""},
		{"a damaged cookie", func(b *bench) {
			for k, m := range b.store.Marks {
				m.Cookie = append([]byte("x"), m.Cookie...)
				b.store.Marks[k] = m
			}
		}, "damaged"},
		{"an empty cookie", func(b *bench) {
			for k, m := range b.store.Marks {
				m.Cookie = nil
				b.store.Marks[k] = m
			}
		}, "damaged"},
		{"another base", func(b *bench) { b.dir.facts.ScopeFP = "another" }, "base"},
		{"other attributes", func(b *bench) { b.dir.facts.MapFP = "another" }, "attributes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := feedBench(t, "syncrepl")
			b.says()
			b.sync("")
			b.o.Agreement.Name, b.o.Agreement.RenamedFrom = "new", "corp"
			b.o.Configured = []string{"new"}
			tt.change(b)
			b.says(is(person(3, func(e *ldapsync.Entry) { e.Person.LastName = "New" })))
			b.replace(person(3, func(e *ldapsync.Entry) { e.Person.LastName = "New" }))
			r, err := b.run()
			if err != nil {
				t.Fatal(err)
			}
			if r.Updated != 1 || r.Full != (tt.why != "") {
				t.Errorf("%s, everything read: %v", counts(r), r.Full)
			}
			b.want("u3", func(p *roster.Person) bool { return p.LastName == "New" && p.Agreement == "new" })
			// The old name is gone, the new one goes on by its own cookie.
			b.says(gone(4))
			if r, err := b.run(); err != nil || r.Full || r.Deactivated != 1 {
				t.Errorf("the next time: %s, %v", counts(r), err)
			}
			for _, m := range b.store.Marks {
				if m.Agreement != "new" {
					t.Errorf("a cookie of %s", m.Agreement)
				}
			}
		})
	}
}

// An agreement of the same people under another name is refused unless told
// that it is the same.
func TestAgreementOfTheSamePeople(t *testing.T) {
	b := feedBench(t, "syncrepl")
	b.o.Agreement.Name, b.o.Configured = "new", []string{"new"}
	if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "renamed_from: corp") {
		t.Fatalf("got %v", err)
	}
	b.want("u3", func(p *roster.Person) bool { return p.Agreement == "corp" })
	b.o.Configured = []string{"new", "corp"} // both are: nested, or twice on purpose
	if _, err := b.run(); err != nil {
		t.Errorf("both are configured: %v", err)
	}
}
