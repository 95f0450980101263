package resetjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/user"
)

// storedVersion is raised when a field of storedJob changes its meaning.
const storedVersion = 1

// storedJob is a Job as the database keeps it. Its field names are those of
// the job file.
type storedJob struct {
	Version      int             `json:"version"`
	Name         string          `json:"name"`
	ID           string          `json:"id,omitempty"`
	Expires      *time.Time      `json:"expires,omitempty"`
	Description  string          `json:"description,omitempty"`
	Select       storedSelect    `json:"select"`
	PIN          *storedValue    `json:"pin,omitempty"`
	Password     *storedValue    `json:"password,omitempty"`
	Settings     Settings        `json:"settings"`
	LDAPSynced   storedTreatment `json:"ldap_synced"`
	LDAPInactive storedTreatment `json:"ldap_inactive"`
	Run          storedRun       `json:"run"`
	Limits       storedLimits    `json:"limits"`
	Deliver      storedDeliver   `json:"deliver"`
	Notify       []string        `json:"notify,omitempty"`
}

type storedSelect struct {
	Source string       `json:"source"`
	Query  *storedQuery `json:"query,omitempty"`
	File   *storedList  `json:"file,omitempty"`
	CSV    *storedList  `json:"csv,omitempty"`
}

type storedQuery struct {
	All   bool         `json:"all,omitempty"`
	Match user.Match   `json:"match,omitempty"`
	Where []storedTerm `json:"where,omitempty"`
}

// storedTerm is a condition where Field is set, else a group.
type storedTerm struct {
	Field user.Field `json:"field,omitempty"`
	Op    user.Op    `json:"op,omitempty"`
	Text  []string   `json:"text,omitempty"`
	storedQuery
}

type storedList struct {
	Name      string     `json:"name"`
	Field     user.Field `json:"field,omitempty"`
	PINLength int        `json:"pin_length,omitempty"`
	SHA256    string     `json:"sha256,omitempty"`
}

// storedValue is a value that is drawn, or else one that the store keeps
// sealed elsewhere.
type storedValue struct {
	Generate int `json:"generate,omitempty"`
}

type storedTreatment struct {
	Password Action `json:"password"`
	PIN      Action `json:"pin"`
}

type storedRun struct {
	Now      bool       `json:"now,omitempty"`
	Held     bool       `json:"held,omitempty"`
	At       *time.Time `json:"at,omitempty"`
	Cron     string     `json:"cron,omitempty"`
	Timezone string     `json:"timezone,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
}

type storedLimits struct {
	MaxUsers    int  `json:"max_users,omitempty"`
	MaxFailures int  `json:"max_failures,omitempty"`
	AllValid    bool `json:"all_valid,omitempty"`
}

type storedDeliver struct {
	None      bool     `json:"none,omitempty"`
	SealedCSV []string `json:"sealed_csv,omitempty"`
	MailTo    string   `json:"mail_to,omitempty"`
}

// EncodeJob returns the job for the database: the same bytes for the same
// job, and no secret. A value that is not drawn becomes one that is Stored,
// which the caller must then store, sealed.
func EncodeJob(job *Job) ([]byte, error) {
	s := storedJob{
		Version:     storedVersion,
		Name:        job.Name,
		ID:          job.ID,
		Expires:     storeTime(job.Expires),
		Description: job.Description,
		Select: storedSelect{
			Source: job.Select.Source,
			Query:  storeQuery(job.Select.Query),
			File:   (*storedList)(job.Select.File),
			CSV:    (*storedList)(job.Select.CSV),
		},
		PIN:          storeValue(job.Reset.PIN),
		Password:     storeValue(job.Reset.Password),
		Settings:     job.Reset.Settings,
		LDAPSynced:   storedTreatment(job.LDAPSynced),
		LDAPInactive: storedTreatment(job.LDAPInactive),
		Run: storedRun{Now: job.Run.Now, Held: job.Run.Held, At: storeTime(job.Run.At),
			Cron: job.Run.Cron, Timezone: job.Run.Timezone, Until: storeTime(job.Run.Until)},
		Limits:  storedLimits(job.Limits),
		Deliver: storedDeliver(job.Deliver),
		Notify:  job.Notify,
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("encode job %s: %w", job.Name, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// DecodeJob returns the job that EncodeJob encoded. Values that the job has
// are Stored.
func DecodeJob(data []byte) (*Job, error) {
	var s storedJob
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("decode a stored job: %w", err)
	}
	if s.Version != storedVersion {
		return nil, fmt.Errorf("decode a stored job: it has version %d, this dirpin knows %d: a newer one wrote it", s.Version, storedVersion)
	}
	query, err := s.Select.Query.query()
	if err != nil {
		return nil, fmt.Errorf("decode the stored job %s: %w", s.Name, err)
	}
	if (query == nil) == (s.Select.File == nil && s.Select.CSV == nil) || s.Select.File != nil && s.Select.CSV != nil {
		return nil, fmt.Errorf("decode the stored job %s: it selects by not exactly one of query, file and csv", s.Name)
	}
	return &Job{
		Name:        s.Name,
		ID:          s.ID,
		Expires:     loadTime(s.Expires),
		Description: s.Description,
		Select: Select{
			Source: s.Select.Source,
			Query:  query,
			File:   (*List)(s.Select.File),
			CSV:    (*List)(s.Select.CSV),
		},
		Reset:        Reset{PIN: s.PIN.value(), Password: s.Password.value(), Settings: s.Settings},
		LDAPSynced:   Treatment(s.LDAPSynced),
		LDAPInactive: Treatment(s.LDAPInactive),
		Run: Run{Now: s.Run.Now, Held: s.Run.Held, At: loadTime(s.Run.At),
			Cron: s.Run.Cron, Timezone: s.Run.Timezone, Until: loadTime(s.Run.Until)},
		Limits:  Limits(s.Limits),
		Deliver: Deliver(s.Deliver),
		Notify:  s.Notify,
	}, nil
}

func storeTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func loadTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func storeValue(v *Value) *storedValue {
	if v == nil {
		return nil
	}
	return &storedValue{Generate: v.Generate}
}

func (s *storedValue) value() *Value {
	if s == nil {
		return nil
	}
	return &Value{Generate: s.Generate, Stored: s.Generate == 0}
}

func storeQuery(q *user.Query) *storedQuery {
	if q == nil {
		return nil
	}
	s := &storedQuery{All: q.Everyone}
	if q.Everyone {
		return s
	}
	if s.Match = q.Match; s.Match == "" {
		s.Match = user.MatchAll
	}
	for _, t := range q.Where {
		if t.Group != nil {
			s.Where = append(s.Where, storedTerm{storedQuery: *storeQuery(t.Group)})
			continue
		}
		s.Where = append(s.Where, storedTerm{Field: t.Cond.Field, Op: t.Cond.Op, Text: t.Cond.Text})
	}
	return s
}

// query returns nil for nil. What it returns is valid: a damaged row must not
// select other people.
func (s *storedQuery) query() (*user.Query, error) {
	if s == nil {
		return nil, nil
	}
	if s.All {
		return user.All(), nil
	}
	if s.Match != user.MatchAll && s.Match != user.MatchAny {
		return nil, errors.New("its query matches neither all nor any")
	}
	q := &user.Query{Match: s.Match}
	for _, t := range s.Where {
		if t.Field != "" {
			q.Where = append(q.Where, user.Term{Cond: &user.Condition{Field: t.Field, Op: t.Op, Text: t.Text}})
			continue
		}
		group, err := t.query()
		if err != nil {
			return nil, err
		}
		q.Where = append(q.Where, user.Term{Group: group})
	}
	return q, q.Validate()
}
