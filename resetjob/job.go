package resetjob

import (
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// Job is a job file that was found to be without fault. It says what is to be
// done; a run of it is a row of the store.
type Job struct {
	Name         string
	ID           string    // the file's own id; "": none
	Expires      time.Time // zero: never
	Description  string
	Select       Select
	Reset        Reset
	LDAPSynced   Treatment
	LDAPInactive Treatment
	Run          Run
	Limits       Limits
	Deliver      Deliver
	Notify       []string
}

// SourceStore is the source of a job that selects from the local store.
const SourceStore = "store"

// Select says whom a job is about. Exactly one of Query, File and CSV is set.
type Select struct {
	Source string // SourceStore, or the name of an agreement
	Query  *user.Query
	File   *List
	CSV    *List
}

// List names a file below the folder of lists.
type List struct {
	Name      string
	Field     user.Field // of a custom file
	PINLength int        // of a csv; 0: not said
	SHA256    string     // lower-case hex; "": not said
}

// Reset says what becomes of the selected users. With a csv PIN and Password
// are nil: the rows have them.
type Reset struct {
	PIN      *Value
	Password *Value
	Settings Settings
}

// Value is where a secret comes from. Exactly one field is set.
type Value struct {
	Given     secret.Value
	Sealed    string         // an age file, base64 or armored
	Generate  int            // the length of a value drawn for each user
	Reference *config.Secret // a file, an environment variable or a credential; under `dirpin run` only
	Stored    bool           // of a job out of the store, which keeps the value sealed by itself
}

// Settings apply to every secret that a job resets; nil: left as it is.
type Settings struct {
	MustChange          *bool `json:"must_change"`
	CannotChange        *bool `json:"cannot_change"`
	DoesNotExpire       *bool `json:"does_not_expire"`
	Locked              *bool `json:"locked"`
	ClearFailedAttempts *bool `json:"clear_failed_attempts"`
}

// Action is what a job does with a secret of a user who is not local.
type Action string

// The actions.
const (
	ActionSkip      Action = "skip"
	ActionFlag      Action = "flag"
	ActionReset     Action = "reset"
	ActionWriteBack Action = "write_back"
)

// Treatment is the action for each secret.
type Treatment struct{ Password, PIN Action }

// Run says when a job runs: Now, Held, At or Cron. Exactly one is set.
type Run struct {
	Now      bool
	Held     bool
	At       time.Time
	Cron     string
	Timezone string
	Until    time.Time
}

// Limits stop a job; 0: not said.
type Limits struct {
	MaxUsers    int
	MaxFailures int
	AllValid    bool
}

// Under returns the limits that count beside the ceilings of the
// configuration, which may have been lowered since the job was accepted.
func (l Limits) Under(ceilings config.Limits) Limits {
	l.MaxUsers = lower(l.MaxUsers, ceilings.MaxUsers)
	l.MaxFailures = lower(l.MaxFailures, ceilings.MaxFailures)
	return l
}

// lower returns the lower limit; 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// Deliver says what becomes of generated values.
type Deliver struct {
	None      bool
	SealedCSV []string // age recipients
	MailTo    string   // user, manager or an address; "": nothing is mailed
}

// Generates tells whether the job draws a value for each user.
func (j *Job) Generates() bool { return j.generates(store.PIN) || j.generates(store.Password) }

// generates tells whether the job draws a value of that kind for each user.
func (j *Job) generates(kind string) bool {
	v := j.Reset.PIN
	if kind == store.Password {
		v = j.Reset.Password
	}
	return v != nil && v.Generate > 0
}
