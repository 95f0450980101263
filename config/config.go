// Package config is the configuration file of dirpin: what it may say, its
// defaults, and everything that can be wrong with it, all at once and with
// line and column. It is frozen once loaded. It belongs to the daemon and is
// no library for others.
package config

import (
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
	"github.com/dirpin/dirpin/internal/user"
)

// Config is a loaded configuration: defaults filled in, values checked.
type Config struct {
	Path          string // of the file; "" for a configuration made by a test
	StateDir      string
	Store         Store
	KeyFile       Secret // the key ring: File is set unless it is another kind of reference
	Log           Log
	Watch         []Watch
	Agreements    []Agreement
	Voicemail     []Voicemail
	VoicemailMode string // first, all or any
	RecoverWithin time.Duration
	RetryWithin   time.Duration
	Late          time.Duration
	Credentials   Credentials
	Protect       *user.Query // nil: nobody is protected
	Limits        Limits
	Approve       Approve
	Mail          *Mail    // nil: not configured
	Webhook       *Webhook // nil: not configured
	HTTP          *HTTP    // nil: not configured
	Keep          Keep

	Warnings strictyaml.Faults // what is wrong but does not keep the file from being used
}

// Secret is a reference to a secret, or a plain one. Exactly one field is set.
// Resolve reads it.
type Secret struct {
	Plain      secret.Value
	File       string
	Env        string
	Credential string
	Sealed     string
}

// Store says where the database is. SQLite is set unless URL is.
type Store struct {
	SQLite   string // path of the database file
	URL      string // postgres://…
	Password Secret
}

// Log says how much is logged and in what form.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json, journald
	File   string
}

// Watch is one watch folder.
type Watch struct {
	Name    string
	Dir     string
	Lists   string
	Reports string
	Settle  time.Duration
	Owners  []string
	Signers string
	Plain   bool
	Trust   string // owner or share
	Allow   Allow
}

// Allow limits what the jobs of a watch folder may do. Zero fields allow all.
type Allow struct {
	Users     *user.Query
	Reset     []string
	MaxUsers  int
	Run       []string
	WriteBack *bool
	Deliver   []string
}

// Agreement is one source of users in an LDAP directory.
type Agreement struct {
	Name              string
	Servers           []string
	StartTLS          bool
	InsecurePlaintext bool
	CAFile            string
	CertFile          string
	KeyFile           string
	Bind              Bind
	Base              string
	Filter            string // "": the default of the directory's kind
	Method            string // auto, full, syncrepl, dirsync
	Interval          time.Duration
	FullEvery         time.Duration
	PageSize          int
	Timeout           time.Duration
	Grace             time.Duration
	ReplicaLag        time.Duration
	Passwords         string // directory, local, write_back
	AdoptLocal        bool
	RenamedFrom       string
	WriteBack         *WriteBack
	Guard             Guard
	Attributes        Attributes // nil lists: the defaults of the directory's kind; empty ones: not read
}

// Bind is how dirpin authenticates to a directory.
type Bind struct {
	DN       string
	Password Secret
	External bool
}

// WriteBack is the account that changes passwords in the directory.
type WriteBack struct{ Bind Bind }

// Guard limits how much one sync may lose.
type Guard struct {
	MaxDeactivate Limit
	Window        time.Duration
	MaxBlank      Limit
}

// Limit is a number or a percentage.
type Limit struct {
	N       int
	Percent bool
}

// Of returns how many of base the limit lets through: a percentage is rounded
// up, and at least 1.
func (l Limit) Of(base int) int {
	if !l.Percent {
		return l.N
	}
	if l.N == 0 {
		return 0
	}
	return max(1, (base*l.N+99)/100)
}

// Attributes maps the fields of a user to attribute names; of several, the
// first that has a value counts.
type Attributes struct {
	UserID, FirstName, MiddleName, LastName, Manager []string
	Department, Mail, Telephone, Language            []string
}

// Voicemail is one voicemail system.
type Voicemail struct {
	Name        string
	Type        string // unity, http, exec, stream, none
	URL         string
	CAFile      string
	User        string
	Password    Secret
	Command     []string
	Secret      Secret
	For         *user.Query // nil: everyone
	NoMailbox   string      // fail or commit
	Timeout     time.Duration
	Retries     int
	Concurrency int
	Rate        float64 // users a second; 0: no limit
	PauseMax    time.Duration
	Hours       *Hours
}

// Hours is a maintenance window.
type Hours struct {
	Cron     string
	For      time.Duration
	Timezone string
}

// Credentials is the policy of PINs and passwords.
type Credentials struct {
	PIN      Policy
	Password Policy
	Lockout  Lockout
}

// Policy is what a secret must be like.
type Policy struct {
	MinLength     int
	MaxLength     int // 0: none
	ForbidTrivial bool
	History       int
	Expires       time.Duration // 0: never
	Hash          string        // argon2id
}

// Lockout says when wrong attempts lock a credential, and for how long.
type Lockout struct {
	Attempts int // 0: never
	Within   time.Duration
	For      time.Duration // 0: until an administrator unlocks
}

// Limits are ceilings for every job; 0: none.
type Limits struct {
	MaxUsers    int
	MaxFailures int
}

// Approve holds jobs over a size until someone else releases them; 0: never.
type Approve struct{ Over int }

// Mail is the mail server, and what mails are like.
type Mail struct {
	Server    string
	TLS       string
	CAFile    string
	User      string // "": the server asks for no login
	Password  Secret
	From      string
	Allow     []string
	Templates string // a folder of texts that stand in for the built-in ones; "": none
	Language  string // of those whose own is not known
}

// Allows tells whether mail may go to an address.
func (m *Mail) Allows(address string) bool {
	domain := address[max(0, strings.LastIndexByte(address, '@')):]
	for _, a := range m.Allow {
		if strings.EqualFold(a, address) || strings.EqualFold(a, domain) {
			return true
		}
	}
	return len(m.Allow) == 0
}

// Webhook is told when a job has ended.
type Webhook struct {
	URL    string
	CAFile string
	Secret Secret
}

// HTTP is where the console, the API, metrics and health listen.
type HTTP struct {
	Listen       string
	MetricsToken Secret // zero: the file metrics.token in the state folder, which serve makes
}

// Keep says how long things are kept; 0: for ever.
type Keep struct {
	Jobs, Reports, Accepted, Rejected time.Duration
}
