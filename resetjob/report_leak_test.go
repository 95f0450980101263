package resetjob

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

// A csv is not kept in memory by a goroutine that reads it for failed.csv.
func TestReportLetsGoOfTheCSV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		k := newLocalKit(t, nil)
		k.addUsers(2, nil)
		k.must(os.WriteFile(filepath.Join(k.dir, "lists", "pins.csv"), []byte("user_id,pin\nuser0,\nuser1,58203946\n"), 0o600))
		k.run("select: {csv: {name: pins.csv}}\n")
		k.must(k.env.Owner.Close())
	})
}
