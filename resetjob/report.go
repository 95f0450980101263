package resetjob

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// maxDetailLines is how many failed users report.log names one by one;
// results.csv has them all.
const maxDetailLines = 1000

// Summary is report.json, and what `run --json` prints last.
type Summary struct {
	Version int                    `json:"version"`
	Job     SummaryJob             `json:"job"`
	Counts  store.Counts           `json:"counts"`
	Codes   map[outcome.Code]int64 `json:"codes"`

	// Voicemail has the codes of users by system, of those who have several;
	// nil: nobody has.
	Voicemail map[string]map[outcome.Code]int64 `json:"voicemail,omitempty"`
}

// SummaryJob is a job as JSON shows it everywhere. Absent times are "".
type SummaryJob struct {
	ID      int64        `json:"id"`
	Name    string       `json:"name"`
	State   store.State  `json:"state"`
	Created string       `json:"created"`
	Started string       `json:"started"`
	Ended   string       `json:"ended"`
	Due     string       `json:"due,omitempty"` // of one that waits for its time
	Counts  store.Counts `json:"counts"`
}

// JobJSON returns the job as JSON shows it.
func JobJSON(j *store.Job) SummaryJob {
	s := SummaryJob{ID: j.ID, Name: j.Name, State: j.State, Created: rfc3339(j.Created), Started: rfc3339(j.Started), Ended: rfc3339(j.Ended), Counts: j.Counts}
	if j.Waits() && !j.State.Ended() {
		s.Due = rfc3339(j.Due)
	}
	return s
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// CountLine is the last line of every report: how the users of a job ended.
func CountLine(c store.Counts) string {
	return fmt.Sprintf("Updated %d, skipped %d, flagged %d, failed %d, not run %d of %d selected.",
		c.Updated, c.Skipped, c.Flagged, c.Failed, c.NotRun, c.Selected)
}

// UncertainLine says what uncertain users are; "" where there are none.
func UncertainLine(c store.Counts) string {
	if c.Uncertain == 0 {
		return ""
	}
	return fmt.Sprintf("Uncertain: %d of the failed. A request was sent and its answer lost, or only some of several systems accepted it: the mailbox may have the new PIN, the local one is unchanged.", c.Uncertain)
}

// reportWriter writes the folder of one report. Everything is written beside
// it and appears by one rename, whole or not at all.
type reportWriter struct {
	dir, tmp string
	job      *store.Job
	def      *Job
	codes    map[outcome.Code]int64
	systems  map[string]map[outcome.Code]int64
	log      []store.LogLine
	delivery store.Deliveries
	unsent   []store.Message // the first of them
	crlf     bool
	files    []*reportFile

	results  *reportFile
	failed   *reportFile
	rows     *reportFile // failed.csv
	notFound *reportFile
	details  strings.Builder
	detailed int
	behind   strings.Builder // who was updated, and not by all of several systems
	behindN  int
	csv      *failedRows
}

// reportFile is made when its first line is written.
type reportFile struct {
	path string
	f    *os.File
	w    *bufio.Writer
}

func (r *reportFile) open() error {
	if r.f != nil {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	r.f, r.w = f, bufio.NewWriterSize(f, 64<<10)
	return nil
}

func (r *reportFile) line(s string) error {
	if err := r.open(); err != nil {
		return err
	}
	_, err := r.w.WriteString(s)
	return err
}

func (r *reportFile) close() error {
	if r.f == nil {
		return nil
	}
	return errors.Join(r.w.Flush(), r.f.Sync(), r.f.Close())
}

// ReportFolder returns where the report of a job belongs.
func ReportFolder(reports string, job int64, name string) string {
	return filepath.Join(reports, strconv.FormatInt(job, 10)+"-"+name)
}

func newReportWriter(reports string, job *store.Job, def *Job, csv *CSV) (*reportWriter, error) {
	dir := ReportFolder(reports, job.ID, job.Name)
	w := &reportWriter{dir: dir, tmp: filepath.Join(reports, "."+filepath.Base(dir)+".tmp"), job: job, def: def, crlf: textCRLF}
	if err := os.MkdirAll(reports, 0o750); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(w.tmp); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.tmp, 0o750); err != nil {
		return nil, err
	}
	w.results, w.failed = w.file("results.csv"), w.file("failed.txt")
	w.rows, w.notFound = w.file("failed.csv"), w.file("not-found.txt")
	if csv != nil {
		w.csv = newFailedRows(csv)
	}
	return w, w.results.line(csvLine("user_id", "first_name", "last_name", "department", "status", "result", "code",
		"password", "pin", "voicemail", "time", "detail"))
}

func (w *reportWriter) file(name string) *reportFile {
	f := &reportFile{path: filepath.Join(w.tmp, name)}
	w.files = append(w.files, f)
	return f
}

// add writes one user into the files that it belongs to.
func (w *reportWriter) add(r *store.ReportRow) error {
	err := w.results.line(csvLine(r.UserID, r.FirstName, r.LastName, r.Department, r.Status, string(r.Result), string(r.Code),
		string(r.Password.Code), string(r.PIN.Code), r.PIN.System, rfc3339(time.UnixMilli(r.EndedAt)), r.Detail))
	if err == nil && r.Behind && r.Result == outcome.Updated {
		w.describeBehind(r)
	}
	if err != nil || r.Result != outcome.Failed && r.Result != outcome.NotRun {
		return err
	}
	if r.Code == outcome.NotFound {
		if err := w.notFound.line(r.UserID + w.eol()); err != nil {
			return err
		}
	}
	// What names nobody is an id only where the list holds ids.
	if r.Code != outcome.NotFound || w.def.Select.File == nil || w.def.Select.File.Field == "user_id" {
		if err := w.failed.line(r.UserID + w.eol()); err != nil {
			return err
		}
	}
	if w.csv != nil {
		if err := w.csv.write(w.rows, r); err != nil {
			return err
		}
	}
	w.describe(r)
	return nil
}

func (w *reportWriter) describe(r *store.ReportRow) {
	if r.Result == outcome.NotRun {
		return // there may be many, all for the one reason that the head tells
	}
	w.detailed++
	if w.detailed > maxDetailLines {
		return
	}
	w.details.WriteString(callUser(r))
	if r.Line > 0 {
		fmt.Fprintf(&w.details, ", line %d", r.Line)
	}
	fmt.Fprintf(&w.details, ": %s", r.Code)
	if r.Detail != "" {
		fmt.Fprintf(&w.details, ": %s", r.Detail)
	}
	w.details.WriteString("\n")
}

// describeBehind names a user whose PIN is committed since some of several
// systems have accepted it, and what the others said.
func (w *reportWriter) describeBehind(r *store.ReportRow) {
	if w.behindN++; w.behindN <= maxDetailLines {
		fmt.Fprintf(&w.behind, "%s: %s\n", callUser(r), r.Detail)
	}
}

func callUser(r *store.ReportRow) string {
	text := "  " + r.UserID
	if name := strings.TrimSpace(r.FirstName + " " + r.LastName); name != "" {
		text += " (" + name + ")"
	}
	return text
}

func (w *reportWriter) eol() string {
	if w.crlf {
		return "\r\n"
	}
	return "\n"
}

// read reads what the summaries say.
func (w *reportWriter) read(tx *store.Tx) (err error) {
	if w.codes, err = tx.CodeCounts(w.job.ID); err != nil {
		return err
	}
	if w.systems, err = tx.SystemCodes(w.job.ID); err != nil {
		return err
	}
	if w.log, err = tx.JobLog(w.job.ID); err != nil {
		return err
	}
	if w.delivery, err = tx.Deliveries(w.job.ID); err != nil || w.delivery.Open() == 0 {
		return err
	}
	return tx.Undelivered(w.job.ID, maxDetailLines, func(m store.Message) error {
		w.unsent = append(w.unsent, m)
		return nil
	})
}

// reportLog returns where the log of a report is.
func reportLog(dir string) string { return filepath.Join(dir, "report.log") }

// logText is report.log as it stands in the file.
func (w *reportWriter) logText() string {
	if w.crlf {
		return "\uFEFF" + strings.ReplaceAll(w.text(), "\n", "\r\n")
	}
	return w.text()
}

// finish writes the summary files and lets the report appear.
func (w *reportWriter) finish() error {
	if err := w.file("report.log").line(w.logText()); err != nil {
		return err
	}
	summary, err := json.MarshalIndent(w.summary(), "", "  ")
	if err != nil {
		return err
	}
	if err := w.file("report.json").line(string(summary) + "\n"); err != nil {
		return err
	}
	for _, f := range w.files {
		if err := f.close(); err != nil {
			return err
		}
	}
	if err := syncDir(w.tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(w.dir); err != nil { // of a close that was cut
		return err
	}
	if err := os.Rename(w.tmp, w.dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(w.dir))
}

// abandon removes what was written so far.
func (w *reportWriter) abandon() {
	for _, f := range w.files {
		if f.f != nil {
			f.f.Close()
		}
	}
	os.RemoveAll(w.tmp)
}

func (w *reportWriter) summary() Summary { return summaryOf(w.job, w.codes, w.systems) }

func summaryOf(j *store.Job, codes map[outcome.Code]int64, systems map[string]map[outcome.Code]int64) Summary {
	return Summary{Version: 1, Job: JobJSON(j), Counts: j.Counts, Codes: codes, Voicemail: systems}
}

// readSummary reads the summary of a job.
func readSummary(tx *store.Tx, j *store.Job) (Summary, error) {
	codes, err := tx.CodeCounts(j.ID)
	if err != nil {
		return Summary{}, err
	}
	systems, err := tx.SystemCodes(j.ID)
	return summaryOf(j, codes, systems), err
}

// text is report.log.
func (w *reportWriter) text() string {
	var b strings.Builder
	j := w.job
	fmt.Fprintf(&b, "Report of job %d, %s\n\n", j.ID, j.Name)
	if w.def.Description != "" {
		fmt.Fprintf(&b, "%s\n\n", w.def.Description)
	}
	if j.File != "" {
		fmt.Fprintf(&b, "File       %s\n", j.File)
	}
	if j.RetryOf != 0 {
		fmt.Fprintf(&b, "Retries    job %d\n", j.RetryOf)
	}
	fmt.Fprintf(&b, "Submitted  %s by %s\n", rfc3339(j.Created), j.Submitter)
	if !j.Started.IsZero() {
		fmt.Fprintf(&b, "Started    %s\n", rfc3339(j.Started))
		fmt.Fprintf(&b, "Ended      %s, after %s\n", rfc3339(j.Ended), j.Ended.Sub(j.Started).Round(time.Second))
	}
	fmt.Fprintf(&b, "State      %s\n", j.State)
	if j.Reason != "" {
		fmt.Fprintf(&b, "           %s\n", j.Reason)
	}
	w.writeCodes(&b)
	b.WriteString(SystemLines(w.systems))
	if w.detailed > 0 {
		b.WriteString("\nFailed users\n")
		b.WriteString(w.details.String())
		if w.detailed > maxDetailLines {
			fmt.Fprintf(&b, "  and %d more: see results.csv\n", w.detailed-maxDetailLines)
		}
	}
	if w.behindN > 0 {
		b.WriteString("\nUpdated, but not at every system\n")
		b.WriteString(w.behind.String())
		if w.behindN > maxDetailLines {
			fmt.Fprintf(&b, "  and %d more: see results.csv\n", w.behindN-maxDetailLines)
		}
	}
	w.writeUnsent(&b)
	if len(w.log) > 0 {
		b.WriteString("\nLog\n")
		for _, l := range w.log {
			fmt.Fprintf(&b, "  %s  %s\n", rfc3339(l.At), l.Text)
		}
	}
	b.WriteString("\n")
	if line := UncertainLine(j.Counts); line != "" {
		b.WriteString(line + "\n")
	}
	if line := UndeliveredLine(j.ID, w.delivery); line != "" {
		b.WriteString(line + "\n")
	}
	b.WriteString(CountLine(j.Counts) + "\n")
	return b.String()
}

// writeUnsent names whose values were not delivered.
func (w *reportWriter) writeUnsent(b *strings.Builder) {
	if len(w.unsent) == 0 {
		return
	}
	b.WriteString("\nNot delivered\n")
	for _, m := range w.unsent {
		fmt.Fprintf(b, "  %s\n", DescribeUnsent(m))
	}
	if more := w.delivery.Open() - int64(len(w.unsent)); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// DescribeUnsent says why a message is not delivered.
func DescribeUnsent(m store.Message) string {
	who := m.UserID
	if m.Kind != store.MessageValue {
		who = "notice to " + m.Recipient
	}
	text := who + ": " + string(m.State)
	if m.Error != "" {
		text += ": " + m.Error
	}
	return text
}

// SystemLines says, for people, how users ended at each of several systems; ""
// where nobody has several.
func SystemLines(systems map[string]map[outcome.Code]int64) string {
	if len(systems) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nOf those with several voicemail systems\n")
	for _, name := range slices.Sorted(maps.Keys(systems)) {
		var codes []string
		for _, c := range slices.Sorted(maps.Keys(systems[name])) {
			codes = append(codes, fmt.Sprintf("%d %s", systems[name][c], c))
		}
		fmt.Fprintf(&b, "  %s: %s\n", name, strings.Join(codes, ", "))
	}
	return b.String()
}

func (w *reportWriter) writeCodes(b *strings.Builder) {
	if len(w.codes) == 0 {
		return
	}
	b.WriteString("\n")
	for _, e := range outcome.Table() {
		if n := w.codes[e.Code]; n > 0 {
			fmt.Fprintf(b, "%8d  %-22s %s\n", n, e.Code, e.Meaning)
			if e.Code != outcome.OK {
				fmt.Fprintf(b, "%33s%s\n", "", e.Action)
			}
		}
	}
}

// csvLine is a line of RFC 4180 with every cell quoted. A cell that a
// spreadsheet would take for a formula gets a quote in front.
func csvLine(cells ...string) string {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			b.WriteByte('\'')
		}
		b.WriteString(strings.ReplaceAll(c, `"`, `""`))
		b.WriteByte('"')
	}
	b.WriteString("\r\n")
	return b.String()
}
