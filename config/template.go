package config

import (
	"path/filepath"
	"strings"
)

// Template returns the commented configuration that `dirpin init` writes. It
// means what an empty one does, but that plain secrets are refused in job
// files. A setting in a comment stands right behind its #.
//
// With a directory its agreement is part of it, no example.
func Template(stateDir string, directory *Directory) []byte {
	below := func(name string) string { return yamlText(filepath.Join(stateDir, name)) }
	owners := make([]string, 0, 2)
	for _, owner := range defaultOwners() {
		owners = append(owners, yamlText(owner))
	}
	text := template
	if directory != nil {
		text = directory.fill(text)
	}
	return []byte(strings.NewReplacer(
		"{state_dir}", yamlText(stateDir),
		"{key}", below("key"),
		"{jobs}", below("jobs"),
		"{lists}", below("lists"),
		"{reports}", below("reports"),
		"{ca}", yamlText(examplePath("ca.pem")),
		"{bind_password}", yamlText(examplePath("bind.pw")),
		"{signers}", yamlText(examplePath("allowed_signers")),
		"{webhook_key}", yamlText(examplePath("webhook.key")),
		"{command}", yamlText(exampleCommand),
		"{owners}", "["+strings.Join(owners, ", ")+"]",
	).Replace(text))
}

// Directory is what dirpin init was told of a directory. Empty fields are left
// out.
type Directory struct {
	Agreement    string
	Servers      []string
	StartTLS     bool
	CAFile       string
	BindDN       string // "": anonymous
	PasswordFile string
	Base         string
}

// fill puts a directory in the place of the example.
func (d *Directory) fill(text string) string {
	servers := make([]string, len(d.Servers))
	for i, s := range d.Servers {
		servers[i] = quoted(s)
	}
	settings := map[string]string{
		"#agreements:":         "agreements:",
		"#  - name: corp":      "  - name: " + d.Agreement,
		"#    servers: [ldaps": "    servers: [" + strings.Join(servers, ", ") + "]",
		"#    base: dc=":       "    base: " + quoted(d.Base),
	}
	if d.StartTLS {
		settings["#    start_tls: false"] = "    start_tls: true"
	}
	if d.CAFile != "" {
		settings["#    ca_file: "] = "    ca_file: " + yamlText(d.CAFile)
	}
	if d.BindDN != "" {
		settings["#    bind: {dn: "] = "    bind: {dn: " + quoted(d.BindDN) + ", password: {file: " + yamlText(d.PasswordFile) + "}}"
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for example, setting := range settings {
			if strings.HasPrefix(line, example) { // the first of its kind: voicemail has a ca_file too
				lines[i] = setting
				delete(settings, example)
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}

// quoted writes a text so that YAML takes it for nothing else.
func quoted(s string) string {
	if strings.ContainsAny(s, "\"\\") {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return `"` + s + `"`
}

// yamlText writes a text so that YAML reads back just that.
func yamlText(s string) string {
	plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == ""
	if plain && s != "" && (s[0] == '/' || 'a' <= s[0] && s[0] <= 'z') {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

const template = `# The configuration of dirpin. "dirpin check" says what is wrong with it, with
# line and column; "dirpin service reload" has the service read it again.
#
# Settings in a comment (with no space behind the #) show the default, or an
# example where the text says so. A path is absolute, or meant from the folder
# of this file. Durations take s, m, h and d, such as 90s or 1h30m; 0 is never.
#
# A secret is {file: PATH}, {env: NAME}, {credential: NAME} (systemd,
# DPAPI) or {sealed: …} (made by "dirpin seal"); a plain text works and is warned about.

version: 1

# The database, the key, the watch folder and the reports.
state_dir: {state_dir}

# Where the database is: sqlite, postgres://user@host/db?sslmode=verify-full, or
# {url: …, password: {file: PATH}}.
#store: sqlite

# The key ring. Without it nothing sealed can be read: keep a copy elsewhere.
#key_file: {key}

# debug, info, warn or error; as text, json or journald; to a file where "file"
# names one, else to stderr (of a Windows service: the Event Log).
#log: {level: info, format: text}

# The folders that job files are dropped into: a list, one a team.
watch:
  - name: main
    # Whether plain secrets may stand in job files. Sealed ones always may.
    plain: false
    #dir: {jobs}
    # The custom files and csv files that jobs name.
    #lists: {lists}
    #reports: {reports}
    # A file is complete when it has not changed for this long.
    #settle: 1s
    # Who may drop files: accounts, %groups; on Windows CORP\alice, CORP\group.
    #owners: {owners}
    # When set, only files with a signature by one of these (ssh-keygen -Y sign
    # -n dirpin) are taken. An example:
    #signers: {signers}
    # owner: the file's owner must be one of owners. share: whoever can write to
    # the folder, which network file systems without signers need.
    #trust: owner
    # What jobs dropped here may do; left out, everything. An example:
    #allow:
    #  users: {match: all, where: [{field: department, op: is exactly, text: "12, 14"}]}
    #  reset: [pin]
    #  max_users: 50
    #  run: [now, at]
    #  write_back: false
    #  deliver: [user]

# Where the users come from. An example; none are configured by default.
#agreements:
#  - name: corp
    # Tried in order. ldap://host needs start_tls: true.
#    servers: [ldaps://dc1.example.com, ldaps://dc2.example.com]
#    start_tls: false
    # Sends the password in clear over ldap://. Leave it alone.
#    insecure_plaintext: false
#    ca_file: {ca}
#    bind: {dn: "cn=sync,dc=example,dc=com", password: {file: {bind_password}}}
#    base: dc=example,dc=com
    # Left out, the default of the directory's kind; for Active Directory
    # (&(objectCategory=person)(objectClass=user)).
#    filter: (objectClass=inetOrgPerson)
    # auto, full, syncrepl (OpenLDAP, 389) or dirsync (Active Directory, Samba).
#    method: auto
#    interval: 15m
    # An incremental feed is compared with the whole this often.
#    full_every: 24h
#    page_size: 1000
#    timeout: 30s
    # Who is absent for this long is removed at the next full sync.
#    grace: 24h
#    replica_lag: 1h
    # Where passwords live: directory, local or write_back.
#    passwords: directory
    # Whether a local user of the same id is taken over.
#    adopt_local: false
    # What one sync may lose before it asks.
#    guard: {max_deactivate: 10%, window: 24h, max_blank: 10%}
    # Left out, the defaults of the directory's kind. Of several the first that
    # has a value counts; [] is not read at all.
#    attributes:
#      user_id: uid
#      first_name: givenName
#      middle_name: [middleName, initials]
#      last_name: sn
#      manager: manager
#      department: departmentNumber
#      mail: mail
#      telephone: telephoneNumber
#      language: preferredLanguage

# The voicemail systems: a user goes to the first whose "for" matches. With none
# at all, a PIN is committed here at once and no voicemail system hears of it.
# An example:
#voicemail:
#  - name: unity
    # unity, http, exec, stream, or none (these users need no mailbox).
#    type: unity
#    url: https://cuc.example.com
#    ca_file: {ca}
#    user: admin
#    password: {credential: cuc}
#    for: {match: all, where: [{field: department, op: is exactly, text: "12, 14"}]}
    # What a user gets who is proven to have no mailbox: fail or commit.
#    no_mailbox: fail
#    timeout: 10s
#    retries: 4
#    concurrency: 8
    # Users a second over all nodes; 0 is no limit. The default is 50/s for unity
    # and no limit for the others.
#    rate: 50/s
#    pause_max: 24h
    # Pushes only then:
#    hours: {cron: "0 20 * * 1-5", for: 8h, timezone: Europe/Berlin}
#  - name: phones
#    type: exec
#    command: [{command}, --site, hq]

# Where a user matches several: first, to the first alone; all, to all, and the
# PIN is committed when all have accepted it; any, when one has.
#voicemail_mode: first

# An interrupted push that is older is not repeated: it ends uncertain.
#recover_within: 1h

# How long the values of unsettled items and held jobs are kept, sealed.
#retry_within: 7d

# A start that is missed by more than this is held.
#late: 1h

#credentials:
#  pin: {min_length: 4, max_length: 8, forbid_trivial: true, history: 3, expires: 180d, hash: argon2id}
#  password: {min_length: 8, history: 5, expires: 0, hash: argon2id}
#  lockout: {attempts: 5, within: 30m, for: 15m}

# Whom no job changes. An example:
#protect: {match: any, where: [{field: department, op: is exactly, text: Administrators}]}

# Ceilings for every job; 0 is none. A job file can only lower them.
#limits: {max_users: 0, max_failures: 0}

# Jobs over this many users are held until someone other than their submitter
# releases them. An example:
#approve: {over: 100}

# An example:
#mail: {server: "smtp://mail:587", tls: required, from: dirpin@example.com, allow: ["@example.com"]}
# Beside: user, password and ca_file of the server; templates, a folder of texts
# of your own; language, of those whose own is not known.

# Told when a job has ended. An example:
#webhook: {url: "https://chat.example.com/dirpin", secret: {file: {webhook_key}}}

# Metrics (for whoever has the token in metrics.token), health; off when left out.
# An example:
#http: {listen: "127.0.0.1:8765"}

#keep: {jobs: 365d, reports: 365d, accepted: 90d, rejected: 7d}
`
