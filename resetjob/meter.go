package resetjob

import (
	"fmt"
	"time"

	"github.com/dirpin/dirpin/internal/store"
)

// Meter says how far a job is, from one look at its row to the next.
type Meter struct {
	begun time.Time
	from  int64 // users that had ended then
}

// Line returns how the job stands and why (Env.Why), in one line: "job 57 running:
// 320 of 1200, 2 failed, 35/s, about 25 s left".
func (m *Meter) Line(j *store.Job, why string, now time.Time) string {
	line := fmt.Sprintf("job %d %s", j.ID, j.State)
	final, all := j.Counts.Final(), j.Counts.Selected
	switch {
	case j.State.Ended():
		return line + ": " + CountLine(j.Counts)
	case j.State == store.Scheduled:
		return line + " for " + rfc3339(j.Due) + because(why)
	case j.State != store.Running && all == 0:
		return line + because(why)
	}
	line += fmt.Sprintf(": %d of %d", final, all)
	if j.Counts.Failed > 0 {
		line += fmt.Sprintf(", %d failed", j.Counts.Failed)
	}
	if j.State != store.Running {
		m.begun = time.Time{}
		return line + because(why)
	}
	if m.begun.IsZero() || final < m.from {
		m.begun, m.from = now, final
		return line
	}
	rate := float64(final-m.from) / now.Sub(m.begun).Seconds()
	if final == m.from || rate <= 0 {
		return line
	}
	return line + fmt.Sprintf(", %.0f/s, about %.0f s left", rate, float64(all-final)/rate)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return "; " + reason
}
