// Package outcome holds the stable codes with which every user of a job ends.
// Scripts depend on them: within version 1 they are only added, never changed.
package outcome

// Result is how an item or a leg ended.
type Result string

// The results, and what they mean for a user's secrets here.
const (
	Updated Result = "updated" // changed
	Skipped Result = "skipped" // left alone, on purpose
	Flagged Result = "flagged" // left alone, and put on the work list
	Failed  Result = "failed"  // left as it was; where the code is an uncertain one the other side may have changed
	NotRun  Result = "not-run" // never attempted
)

// Code says why an item or a leg ended as it did.
type Code string

// The codes.
const (
	OK                 Code = "ok"
	NoMailboxCommitted Code = "no-mailbox-committed"

	LDAPSynced   Code = "ldap-synced"
	LDAPInactive Code = "ldap-inactive"
	Protected    Code = "protected"
	Superseded   Code = "superseded"

	NotFound     Code = "not-found"
	UnknownUser  Code = "unknown-user"
	OutsideScope Code = "outside-scope"
	NoValue      Code = "no-value"
	NoAddress    Code = "no-address"

	TooShort       Code = "too-short"
	TooLong        Code = "too-long"
	NotDigits      Code = "not-digits"
	Trivial        Code = "trivial"
	InHistory      Code = "in-history"
	ContainsUserID Code = "contains-user-id"

	VoicemailRejected    Code = "voicemail-rejected"
	VoicemailUnreachable Code = "voicemail-unreachable"
	VoicemailTimeout     Code = "voicemail-timeout"
	VoicemailDenied      Code = "voicemail-denied"
	VoicemailPartial     Code = "voicemail-partial"
	NoMailbox            Code = "no-mailbox"
	NoVoicemail          Code = "no-voicemail"

	DirectoryRejected    Code = "directory-rejected"
	DirectoryUnreachable Code = "directory-unreachable"
	DirectoryTimeout     Code = "directory-timeout"

	Store Code = "store"

	Cancelled   Code = "cancelled"
	MaxFailures Code = "max-failures"
	Held        Code = "held"
)

// Uncertain tells whether another system may hold the new secret, or does,
// although the local one is unchanged.
func (c Code) Uncertain() bool {
	return c == VoicemailTimeout || c == DirectoryTimeout || c == VoicemailPartial
}

// Entry is one row of the table of codes, as docs/codes.md shows it.
type Entry struct {
	Code    Code
	Results []Result
	Meaning string // what happened, for an administrator
	Action  string // what to do about it
}

// Table returns every code, in the order of the documentation.
func Table() []Entry {
	return []Entry{
		{OK, []Result{Updated}, "Every secret that the job asked for was changed.", "Nothing."},
		{NoMailboxCommitted, []Result{Updated}, "The voicemail system proved that the user has no mailbox, and `no_mailbox: commit` says that the PIN is then committed here alone.", "Nothing; or give the user a mailbox."},

		{LDAPSynced, []Result{Skipped, Flagged}, "The secret belongs to the directory (`ldap_synced`).", "Change it in the directory, or let the job reset or write back."},
		{LDAPInactive, []Result{Skipped, Flagged}, "The directory no longer has the user, or has it disabled or expired (`ldap_inactive`).", "See `dirpin users show`; sync, or let the job reset inactive users."},
		{Protected, []Result{Skipped}, "The configuration's `protect` keeps jobs away from this user.", "Nothing, or change `protect`."},
		{Superseded, []Result{Skipped}, "A later job has already changed this secret.", "Nothing."},

		{NotFound, []Result{Failed}, "A line of the custom file, or an id, names nobody here.", "Correct `not-found.txt` and drop it again; run `dirpin sync` if the user is new."},
		{UnknownUser, []Result{Failed}, "The directory has the entry but the store does not yet, or the user changed identity since the job opened.", "Run `dirpin sync`, then retry."},
		{OutsideScope, []Result{Failed}, "The watch folder's `allow.users` does not cover this user.", "Use a folder that may."},
		{NoValue, []Result{Failed}, "The row of the csv has no value for a secret that is asked for.", "Fill in the value; `failed.csv` has the row."},
		{NoAddress, []Result{Failed}, "The value could not be delivered: no mail address, or none that `mail.allow` has. Nothing was changed.", "Give the user (or the manager) an address."},

		{TooShort, []Result{Failed}, "The value is shorter than the policy allows.", "Use a longer one."},
		{TooLong, []Result{Failed}, "The value is longer than the policy allows.", "Use a shorter one."},
		{NotDigits, []Result{Failed}, "A PIN has characters other than 0–9.", "Use digits."},
		{Trivial, []Result{Failed}, "The PIN is too easy to guess for this user.", "Use another one, or let dirpin generate."},
		{InHistory, []Result{Failed}, "The value was used before, here or in the voicemail system.", "Use another one, or let dirpin generate."},
		{ContainsUserID, []Result{Failed}, "The value contains the user id, or the other way round.", "Use another one."},

		{VoicemailRejected, []Result{Failed}, "The voicemail system refused the PIN. Nothing changed there or here.", "Read the detail; its policy may be stricter."},
		{VoicemailUnreachable, []Result{Failed}, "No request ever reached the voicemail system: surely nothing changed.", "Mend the connection (`dirpin doctor`), then retry."},
		{VoicemailTimeout, []Result{Failed}, "Uncertain: a request was sent and its answer lost. The mailbox may have the new PIN; the local one is unchanged.", "Retry the job: the same value is sent again."},
		{VoicemailDenied, []Result{Failed, NotRun}, "The voicemail system denied our account. All jobs on it stop before it locks the account.", "Mend the credential, then `dirpin doctor`."},
		{VoicemailPartial, []Result{Failed}, "`voicemail_mode: all`: some of the user's voicemail systems have the new PIN and others have not, or may not; the detail names them. The local PIN is unchanged.", "Retry the job: the same PIN is sent, and only to those that have not accepted it."},
		{NoMailbox, []Result{Failed}, "The voicemail system proved that the user has no mailbox.", "Create the mailbox, or set `no_mailbox: commit`."},
		{NoVoicemail, []Result{Failed}, "Voicemail systems are configured, but none of them matches this user.", "Extend a `for`, or add an entry of type none."},

		{DirectoryRejected, []Result{Failed}, "The directory refused the password.", "Read the detail."},
		{DirectoryUnreachable, []Result{Failed}, "No request ever reached the directory: surely nothing changed.", "Mend the connection (`dirpin doctor`), then retry."},
		{DirectoryTimeout, []Result{Failed}, "Uncertain: a write was sent and its answer lost.", "Retry the job: the same value is sent again."},

		{Store, []Result{Failed}, "The local database could not take the item, before anything was sent.", "Read the log: disk space, permissions."},

		{Cancelled, []Result{NotRun}, "The job was cancelled before this user's turn.", "Retry the job, if you want."},
		{MaxFailures, []Result{NotRun}, "The job stopped at its limit of failures before this user's turn.", "Mend the cause, then retry the job."},
		{Held, []Result{NotRun}, "The job expired while it was held.", "Submit it again."},
	}
}
