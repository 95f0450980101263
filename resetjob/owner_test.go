package resetjob

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Commands that start at the same moment find the same dead owner, and none of
// them minds that another one has taken its lock away.
func TestManyFindTheSameDeadOwner(t *testing.T) {
	k := newKit(t, nil)
	for n := range 200 {
		id := fmt.Sprintf("%016x", n)
		path, err := lockPath(k.env.Store, id)
		k.must(err)
		k.must(os.WriteFile(path, nil, 0o600))
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			all.Go(func() {
				<-start
				if _, err := locked(k.env.Store, id); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
	}
}
