package resetjob

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/user"
)

// Every job of the archives comes back from the store as it went in.
func TestStoredJobs(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/decode/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	jobs := 0
	for _, path := range archives {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(data).Files {
			if strings.HasSuffix(f.Name, ".want") {
				continue
			}
			if job, _ := ParseJob(f.Name, f.Data, testOptions()); job != nil {
				jobs++
				checkStored(t, job)
			}
		}
	}
	if jobs < 40 {
		t.Errorf("%d jobs only", jobs)
	}
}

func checkStored(t *testing.T, job *Job) {
	t.Helper()
	data, err := EncodeJob(job)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeJob(data)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	want := *job
	want.Reset.PIN, want.Reset.Password = asStored(job.Reset.PIN), asStored(job.Reset.Password)
	want.Expires, want.Run.At, want.Run.Until = utc(job.Expires), utc(job.Run.At), utc(job.Run.Until)
	if !reflect.DeepEqual(*again, want) {
		t.Errorf("%s: %s\ncame back as %+v\nand was      %+v", job.Name, data, *again, want)
	}
}

func asStored(v *Value) *Value {
	if v == nil || v.Generate > 0 {
		return v
	}
	return &Value{Stored: true}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

func TestEncodeJobHoldsNoSecret(t *testing.T) {
	t.Parallel()
	for _, v := range []*Value{
		{Given: secret.New("canary")}, {Sealed: "canary"}, {Reference: &config.Secret{File: "canary", Plain: secret.New("canary")}},
	} {
		data, err := EncodeJob(&Job{Select: Select{Source: SourceStore, Query: user.All()}, Reset: Reset{PIN: v, Password: v}})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("canary")) {
			t.Errorf("%s", data)
		}
	}
}

// A damaged row selects nobody.
func TestDecodeJobRefuses(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		``, `{}`, `[]`, `{"version":1}`, `{"version":2,"select":{"source":"store","query":{"all":true}}}`,
		`{"version":1,"select":{"source":"store","query":{}}}`,
		`{"version":1,"select":{"source":"store","query":{"match":"all","where":[]}}}`,
		`{"version":1,"select":{"source":"store","query":{"match":"some","where":[{"field":"user_id","op":"contains","text":["x"]}]}}}`,
		`{"version":1,"select":{"source":"store","query":{"match":"all","where":[{"field":"user_id","op":"contains"}]}}}`,
		`{"version":1,"select":{"source":"store","query":{"match":"all","where":[{}]}}}`,
		`{"version":1,"select":{"source":"store","query":{"all":true},"csv":{"name":"x"}}}`,
		`{"version":1,"select":{"source":"store","file":{"name":"x"},"csv":{"name":"x"}}}`,
		`{"version":1,"select":{"source":"store","query":{"all":true}},"more":1}`,
	} {
		if job, err := DecodeJob([]byte(data)); err == nil {
			t.Errorf("%s was taken: %+v", data, job)
		}
	}
}
