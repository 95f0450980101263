package resetjob

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// world is one installation and everything around it: the files that outlive
// processes, the voicemail systems and the people. It runs in a bubble of
// testing/synctest, so that hours pass in milliseconds and nothing sleeps.
type world struct {
	model   *model
	dir, db string
	nowhere string // a folder that nobody looks into
	cfg     *config.Config
	batch   int64 // items a batch
	ring    *credential.Ring
	log     logBuffer
	raw     *sql.DB // the observer's, past the store

	mu        sync.Mutex // of everything below
	story     []string
	violated  string
	offset    time.Duration // of the wall clock from the monotonic one
	back      bool          // it was set back: its times have no order
	jumps     []jump
	people    []*person
	processes []*process
	boxes     boxes
	network   map[*packet]bool
	requests  map[string]*request
	values    map[string]bool // every secret there was: none may be found in the clear
	seen      *view           // of the database, at the last look
	protects  bool            // the configuration protects department 9, for processes to come
	jobs      int             // files that were written
	opened    map[int64]int   // faults of policy that opening a job has found

	copied       string // a copy of the database that was put aside; "": none
	copiedAt     time.Time
	copiedOpened map[int64]int
	lastSent     time.Time      // when a request was
	copiedGen    int64          // of the marker, then
	sinceCopy    int            // requests that were sent since
	restored     time.Time      // when a copy was put back; zero: nothing was, or it was released
	lineage      int            // how often one was
	forgotten    int            // since which lineage nothing is forgotten: requests of before are known to nobody
	broken       time.Time      // since when the database refuses every write; zero: it takes them
	bad          int64          // the user whose credential cannot be written; 0: none
	owed         map[int64]bool // users whose could not be: a result of theirs may be owed

	denied map[string]time.Time // since when a system has denied us, as its job says; doctor has not passed since
	sentTo map[legID]string     // the system that an item was sent to last
	lastTo map[*mailbox]string  // the id of the request that was sent there last
}

// person is somebody with, perhaps, a mailbox.
type person struct {
	ref   int64  // in the store; 0: not there
	alias string // by which the voicemail systems know them
	born  string // what it was at first
	key   string // in the directory; "": a local user
	box   *mailbox
	east  *mailbox // the one in the east; the same where nobody has several systems
	fates []fate   // of the attempts that are made for this person next
	turn  int
}

// model is what stays the same from one world to the next: what is costly to
// make.
type model struct {
	*testing.T
	dir  string // in memory where that is possible: fsync then costs nothing
	db   string // a fresh database
	ring *credential.Ring
	n    int

	notes bool // the voicemail systems keep notes

	first string // the story that failed first, before rapid made it shorter
}

func newModel(t *testing.T) *model {
	m := &model{T: t}
	var err error
	if m.dir, err = os.MkdirTemp("/dev/shm", "dirpin-model-"); err != nil {
		m.dir = t.TempDir()
	}
	t.Cleanup(func() {
		os.RemoveAll(m.dir)
		if t.Failed() {
			t.Log("the first story:\n" + m.first)
		}
	})
	m.db = filepath.Join(m.dir, "fresh.db")
	s, err := store.Open(context.Background(), store.Options{Path: m.db})
	if err == nil {
		err = s.Close()
	}
	if err == nil {
		m.ring, err = credential.NewRing(rand.Reader, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *model) newWorld() *world {
	m.n++
	w := &world{model: m, dir: filepath.Join(m.dir, fmt.Sprint(m.n)), ring: m.ring, network: map[*packet]bool{}, requests: map[string]*request{}, values: map[string]bool{}, opened: map[int64]int{}, owed: map[int64]bool{}, denied: map[string]time.Time{}, sentTo: map[legID]string{}, lastTo: map[*mailbox]string{}}
	w.db, w.nowhere = filepath.Join(w.dir, "dirpin.db"), filepath.Join(w.dir, "nowhere")
	w.must(os.MkdirAll(w.nowhere, 0o700))
	w.must(os.MkdirAll(filepath.Join(w.dir, "lists"), 0o700))
	w.must(copyFile(m.db, w.db))
	w.observe()
	return w
}

// observe opens the observer's connection.
func (w *world) observe() {
	var err error
	w.raw, err = sql.Open("sqlite3", "file:"+w.db+"?_busy_timeout=10000&_journal_mode=WAL&_synchronous=OFF")
	w.must(err)
	w.raw.SetMaxOpenConns(1)
}

// must ends the test: the model itself is at fault.
func (w *world) must(err error) {
	if err != nil {
		w.model.first += fmt.Sprintf("the model is at fault: %v\n%s", err, w.tale())
		panic(fmt.Sprintf("the model: %v\n%s", err, w.tale()))
	}
}

// now is the wall clock of every process.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock()
}

func (w *world) clock() time.Time { return time.Now().Add(w.offset) }

// say adds to the story; w.mu is not held.
func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(format, args...)
}

// epoch is when a bubble's time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%12s  ", time.Since(epoch).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// wrong records that a rule was broken; w.mu is held.
func (w *world) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.tell("BROKEN: %s", text)
	if w.violated == "" {
		w.violated = text
	}
}

// judge ends the story where a rule was broken.
func (w *world) judge(rt *rapid.T) {
	if w.violated == "" {
		return
	}
	if w.model.first == "" {
		w.model.first = w.tale()
	}
	rt.Fatalf("%s\n%s", w.violated, w.tale())
}

// tale is the story as it is shown.
func (w *world) tale() string {
	return strings.Join(w.story, "\n") + "\n"
}

// logBuffer keeps the log, in which no value may stand.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&w.log, nil)) }

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// departments: 1 is served by the system "east", 2 by both where the mode is all
// or any, else by "west", 9 is protected when the configuration says so, 5 by no
// system where there are two.
func inDepartment(n ...string) *user.Query {
	return &user.Query{Where: []user.Term{{Cond: &user.Condition{Field: user.FieldDepartment, Op: user.IsExactly, Text: n}}}}
}

// config returns the configuration for a process that starts now.
func (w *world) config() *config.Config {
	c := *w.cfg
	if w.protects {
		c.Protect = inDepartment("9")
	}
	return &c
}

// insertPerson puts somebody into the store.
func (w *world) insertPerson(p *person) {
	if p.born == "" {
		p.born = p.alias
	}
	status, agreement := user.Local, ""
	if p.key != "" {
		status, agreement = user.Active, "corp"
	}
	r, err := w.raw.Exec(`INSERT INTO users (user_id, user_id_f, first_name, first_name_f, middle_name, middle_name_f, last_name, last_name_f,
		department, department_f, departments, mail, mail_f, telephone, telephone_f, language, status, inactive_reason, agreement, entry_key, dn, changed_at, manager, manager_f)
		VALUES (?1, ?1, '', '', '', '', 'Smith', 'smith', '2', char(10)||'2'||char(10), 1, '', '', '', '', '', ?2, '', ?3, nullif(?4, ''), '', 0, '', '')`,
		p.alias, string(status), agreement, p.key)
	w.must(err)
	p.ref, err = r.LastInsertId()
	w.must(err)
}

// exec changes the database past the store.
func (w *world) exec(query string, args ...any) int64 {
	r, err := w.raw.Exec(query, args...)
	w.must(err)
	n, err := r.RowsAffected()
	w.must(err)
	return n
}

// close leaves nothing behind.
func (w *world) close() {
	w.must(w.raw.Close())
	os.RemoveAll(w.dir)
}

var _ io.Writer = (*logBuffer)(nil)
