// Package resetjob takes a job file to its report: the file and its faults,
// the selection of users, the plan, the runner that pushes each PIN to the
// voicemail system before it commits it here, and the report. Package daemon
// and the command line call it; it knows nothing of either.
package resetjob
