package resetjob

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dirpin/dirpin/internal/outcome"
	"github.com/dirpin/dirpin/internal/store"
)

// A report fits its schema, in every state of a job, and the schema knows every
// field: it is closed for the test.
func TestReportFitsTheSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(ReportSchema()))
	if err != nil {
		t.Fatal(err)
	}
	root := doc.(map[string]any)
	for _, n := range []any{root, root["properties"].(map[string]any)["job"], root["$defs"].(map[string]any)["counts"]} {
		n.(map[string]any)["additionalProperties"] = false
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 16, 0, 0, 1, time.FixedZone("", 3600))
	states := []store.State{store.Scheduled, store.Held, store.Queued, store.Running, store.Paused, store.Done, store.Incomplete, store.Stopped, store.Cancelled, store.Superseded, store.Failed}
	for _, state := range states {
		job := &store.Job{ID: 1, Name: "j", State: state, Created: now, Started: now, Due: now, Counts: store.Counts{Selected: 1, Updated: 1}}
		data, err := json.Marshal(Summary{Version: 1, Job: JobJSON(job), Counts: job.Counts, Codes: map[outcome.Code]int64{"ok": 1},
			Voicemail: map[string]map[outcome.Code]int64{"hq": {"ok": 1}, "branch": {"not-run": 1}}})
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}
