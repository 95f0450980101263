package resetjob

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/strictyaml"
)

// ParseOptions say by which rules a job file is judged. The zero value is the
// strictest: nothing plain, no references, no agreements.
type ParseOptions struct {
	Now             time.Time // a plain date in `expires` lasts to its end in the zone of Now
	Foreground      bool      // `dirpin run` and `explain`: runs now whatever `run` says, which may lie behind
	Accepted        bool      // the file was accepted before and is gone on with: nothing need lie ahead any more
	Signed          bool      // id, expires and the lists' sha256 are required
	PlainAllowed    bool      // plain secrets may stand in the file
	AllowReferences bool      // {file}, {env} and {credential} may stand in the file
	Agreements      []config.Agreement
	Ceilings        config.Limits
	Allow           config.Allow       // what the file's watch folder allows
	Credentials     config.Credentials // bounds the length of generated values
	Mail            *config.Mail       // nil: no mail server is configured

	// CheckGiven judges values that stand in the file; nil: none is judged.
	CheckGiven CheckGiven
	// OpenSealed returns the value as the job will use it; nil where the key
	// cannot be read, and sealed values then go unjudged. Its errors hold no
	// value.
	OpenSealed func(sealed string) (secret.Value, error)
	// Resolve reads a reference, whose value then stands in for it in the Job;
	// nil: the Job keeps the reference. Its errors hold no value.
	Resolve func(config.Secret) (secret.Value, error)
}

// ParseJob decodes a job file, YAML or JSON, and says everything that is wrong
// with it, each with its place and none quoting a value. With a fault that is
// no mere warning there is no Job. File is the path, for the faults, for the
// job's name where it says none, and for references to files beside it.
func ParseJob(file string, data []byte, opts ParseOptions) (*Job, strictyaml.Faults) {
	root, faults := strictyaml.Parse(file, data)
	if root == nil {
		return nil, faults
	}
	jd := &jobDecoder{d: &strictyaml.Decoder{File: file}, opts: opts, job: &Job{}}
	jd.d.Add(faults...)
	if root.Kind == strictyaml.Mapping {
		jd.root(jd.d.Mapping(root, jobKeys()...))
	} else {
		jd.d.Fault(root, "a job file needs the keys select and reset, such as: select: {query: all}")
	}
	faults = jd.d.Faults()
	if faults.Failed() {
		return nil, faults
	}
	return jd.job, faults
}

func jobKeys() []string {
	return []string{"version", "name", "id", "expires", "description", "select", "reset", "ldap_synced", "ldap_inactive", "run", "limits", "deliver", "notify"}
}

// jobDecoder fills a Job from the nodes of its file. Every method goes on
// after a fault, to find the others.
type jobDecoder struct {
	d    *strictyaml.Decoder
	opts ParseOptions
	job  *Job

	csvNode  *strictyaml.Node
	synced   *strictyaml.Node // what becomes of LDAP users' passwords, where the file says it
	inactive *strictyaml.Node
}

func (jd *jobDecoder) root(m *strictyaml.Keyed) {
	jd.version(m.Get("version"))
	jd.name(m.Get("name"))
	jd.identity(m)
	jd.description(m.Get("description"))
	jd.selection(jd.d.Require(m, "select"))
	jd.reset(m)
	jd.treatments(m)
	jd.run(m.Get("run"))
	jd.limits(m.Get("limits"))
	jd.deliver(m.Get("deliver"))
	jd.notify(m.Get("notify"))
	jd.together(m)
	jd.allowed(m)
}

func (jd *jobDecoder) version(n *strictyaml.Node) {
	if v, ok := jd.d.Int(n, 1, 1_000_000); ok && v != 1 {
		jd.d.Fault(n, "version: this dirpin knows version 1 only")
	}
}

const maxJobName = 64

func (jd *jobDecoder) name(n *strictyaml.Node) {
	if n == nil {
		jd.job.Name = defaultJobName(jd.d.File)
		return
	}
	name, ok := jd.d.Text(n)
	if !ok {
		return
	}
	switch {
	case len(name) > maxJobName:
		jd.d.Fault(n, "name: at most %d characters", maxJobName)
	case strings.ContainsFunc(name, notInJobName):
		jd.d.Fault(n, "name: only A–Z a–z 0–9 . _ and - may stand in it")
	}
	jd.job.Name = name
}

// defaultJobName makes a job's name of the file's.
func defaultJobName(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := strings.Map(func(r rune) rune {
		if notInJobName(r) {
			return '_'
		}
		return r
	}, base)
	if name == "" {
		return "job"
	}
	return name[:min(len(name), maxJobName)]
}

func notInJobName(r rune) bool {
	switch {
	case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		return false
	}
	return r != '.' && r != '_' && r != '-'
}

const maxJobID = 128

// identity reads what keeps a signed file from being dropped again.
func (jd *jobDecoder) identity(m *strictyaml.Keyed) {
	id, expires := m.Get("id"), m.Get("expires")
	if jd.opts.Signed {
		if id == nil {
			jd.d.Fault(m.Node(), "the key id is missing: a signed job needs one, so that nobody can drop it a second time")
		}
		if expires == nil {
			jd.d.Fault(m.Node(), "the key expires is missing: a signed job needs one, so that nobody can drop it years later")
		}
	}
	if s, ok := jd.d.String(id); ok {
		if len(s) > maxJobID || strings.ContainsFunc(s, notOneLine) {
			jd.d.Fault(id, "id: one line of at most %d bytes is needed", maxJobID)
		}
		jd.job.ID = s
	}
	if t, ok := jd.d.TimeOrDate(expires, jd.opts.Now.Location()); ok {
		if !t.After(jd.opts.Now) && !jd.opts.Accepted {
			jd.d.Fault(expires, "expires: this time has passed")
		}
		jd.job.Expires = t
	}
}

const maxJobDescription = 2000

func (jd *jobDecoder) description(n *strictyaml.Node) {
	s, ok := jd.d.String(n)
	if !ok {
		return
	}
	s = strings.TrimSpace(s)
	if len(s) > maxJobDescription || strings.ContainsFunc(strings.ReplaceAll(s, "\n", " "), notOneLine) {
		jd.d.Fault(n, "description: text of at most %d bytes without control characters is needed", maxJobDescription)
	}
	jd.job.Description = s
}
