package resetjob

import (
	_ "embed"
	"slices"
)

//go:embed job.schema.json
var jobSchema []byte

// JobSchema returns the JSON Schema of a job file, with which editors complete
// it. It says less than ParseJob: what hangs on the configuration, the clock
// or the policy is not in it.
func JobSchema() []byte { return slices.Clone(jobSchema) }

//go:embed report.schema.json
var reportSchema []byte

// ReportSchema returns the JSON Schema of report.json.
func ReportSchema() []byte { return slices.Clone(reportSchema) }
