package delivery

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Letter is what the text of a mail with values may say.
type Letter struct {
	UserID, FirstName, LastName string // whose values they are
	PIN, Password               string // "": not among them
	PINUncertain                bool   // whether it is in force is not known
	PasswordUncertain           bool
	MustChange                  bool   // at the next login
	To                          string // user, manager or address
	Job                         int64
	JobName                     string
}

// Uncertain tells whether a value of the letter is.
func (l Letter) Uncertain() bool { return l.PINUncertain || l.PasswordUncertain }

func (l Letter) fields() fields {
	return fields{"UserID": l.UserID, "FirstName": l.FirstName, "LastName": l.LastName, "PIN": l.PIN, "Password": l.Password,
		"PINUncertain": l.PINUncertain, "PasswordUncertain": l.PasswordUncertain, "Uncertain": l.Uncertain(), "MustChange": l.MustChange,
		"To": l.To, "Job": l.Job, "JobName": l.JobName}
}

// Notice is what the text of a mail about the end of a job may say.
type Notice struct {
	Job     int64
	JobName string
	State   string
	Counts  string // the last line of the report
	Summary string // the report without the names of users
	Report  string // its folder
}

func (n Notice) fields() fields {
	return fields{"Job": n.Job, "JobName": n.JobName, "State": n.State, "Counts": n.Counts, "Summary": n.Summary, "Report": n.Report}
}

//go:embed templates
var builtIn embed.FS

const (
	letterName = "value" // value.en.txt, value.en.html
	noticeName = "ended"
)

// texts are the templates, by kind and language. English is always there.
type texts struct {
	sets    map[string][]text
	matcher map[string]language.Matcher
	most    string // the language of those whose own is not known
}

// text is a mail in one language. The first line of the plain one is its subject.
type text struct {
	tag   language.Tag
	plain *template
	html  *template // nil: there is none
}

// loadTexts reads the built-in templates, and those of a folder in their place.
// All of them are tried.
func loadTexts(folder, most string) (*texts, error) {
	t := &texts{sets: make(map[string][]text), matcher: make(map[string]language.Matcher), most: most}
	own, err := fs.Sub(builtIn, "templates")
	if err != nil {
		return nil, err
	}
	if err := t.read(own, "built-in "); err != nil {
		return nil, err
	}
	if folder != "" {
		if err := t.read(os.DirFS(folder), folder+string(filepath.Separator)); err != nil {
			return nil, err
		}
	}
	for kind, set := range t.sets {
		tags := make([]language.Tag, len(set))
		for i := range set {
			tags[i] = set[i].tag
		}
		t.matcher[kind] = language.NewMatcher(tags)
		for _, x := range set {
			if _, err := x.write(sample(kind)); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func sample(kind string) fields {
	if kind == noticeName {
		return Notice{Job: 1, JobName: "sample", State: "done"}.fields()
	}
	return Letter{UserID: "jsmith", PIN: "1", Password: "2", PINUncertain: true, MustChange: true, To: "user"}.fields()
}

func (t *texts) read(files fs.FS, where string) error {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return fmt.Errorf("reading the templates of mails: %w", err)
	}
	for _, e := range entries {
		kind, rest, _ := strings.Cut(e.Name(), ".")
		lang, ext, _ := strings.Cut(rest, ".")
		plain := kind + "." + lang + ".txt"
		switch {
		case ext != "txt" && ext != "html":
			continue // a README, perhaps
		case kind != letterName && kind != noticeName:
			return fmt.Errorf("%s%s: a template is named %s or %s, its language and txt or html, as in value.de.txt", where, e.Name(), letterName, noticeName)
		case ext == "html":
			if _, err := fs.Stat(files, plain); err != nil {
				return fmt.Errorf("%s%s has no text of the same language beside it, for programs that show no HTML: %s", where, e.Name(), plain)
			}
			continue
		}
		x, err := readText(files, where, e.Name(), lang, sample(kind))
		if err != nil {
			return err
		}
		t.sets[kind] = slices.DeleteFunc(t.sets[kind], func(o text) bool { return o.tag == x.tag })
		t.sets[kind] = append(t.sets[kind], x)
	}
	return nil
}

func readText(files fs.FS, where, name, lang string, known fields) (text, error) {
	x := text{}
	var err error
	if x.tag, err = language.Parse(lang); err != nil {
		return x, fmt.Errorf("%s%s: %s is no language", where, name, lang)
	}
	plain, err := fs.ReadFile(files, name)
	if err != nil {
		return x, fmt.Errorf("reading the templates of mails: %w", err)
	}
	if x.plain, err = parseTemplate(where+name, string(plain), known, false); err != nil {
		return x, fmt.Errorf("mail template: %w", err)
	}
	page := strings.TrimSuffix(name, "txt") + "html"
	html, err := fs.ReadFile(files, page)
	if errors.Is(err, fs.ErrNotExist) {
		return x, nil
	}
	if err == nil {
		x.html, err = parseTemplate(where+page, string(html), known, true)
	}
	if err != nil {
		return x, fmt.Errorf("mail template: %w", err)
	}
	return x, nil
}

const subjectMark = "Subject:"

// blanks are what conditions in templates leave behind.
var blanks = regexp.MustCompile(`\n{3,}`)

// write fills the template.
func (x text) write(data fields) (Message, error) {
	var m Message
	subject, body, _ := strings.Cut(strings.ReplaceAll(x.plain.fill(data), "\r\n", "\n"), "\n")
	subject, ok := strings.CutPrefix(subject, subjectMark)
	if m.Subject = strings.Join(strings.Fields(subject), " "); !ok || m.Subject == "" {
		return m, fmt.Errorf("mail template %s: its first line must be %q and a subject", x.plain.name, subjectMark)
	}
	m.Text = blanks.ReplaceAllString(strings.TrimLeft(body, "\n"), "\n\n")
	if x.html != nil {
		m.HTML = x.html.fill(data)
	}
	return m, nil
}

// in returns the text for a language as directories have it: de, de-AT, or with
// weights as browsers send it.
func (t *texts) in(kind, lang string) text {
	for _, l := range []string{lang, t.most, "en"} {
		tags, _, err := language.ParseAcceptLanguage(l)
		if err != nil || len(tags) == 0 {
			continue
		}
		if _, i, sure := t.matcher[kind].Match(tags...); sure >= language.Low {
			return t.sets[kind][i]
		}
	}
	return t.sets[kind][0]
}

// Letter writes a mail with values in that language, or in the one that is
// nearest to it.
func (m *Mailer) Letter(l Letter, lang string) (Message, error) {
	msg, err := m.texts.in(letterName, lang).write(l.fields())
	msg.Secrets = []string{l.PIN, l.Password}
	return msg, err
}

// Notice writes a mail about the end of a job.
func (m *Mailer) Notice(n Notice) (Message, error) {
	return m.texts.in(noticeName, "").write(n.fields())
}
