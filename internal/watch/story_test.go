package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// killed is what a process that dies in a story panics with.
type killed struct{}

// Files are dropped, replaced and removed while the process that watches dies
// again and again, at any step. In the end each that was not taken back is one
// job or one refusal, as it should be.
func TestStory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newKit(t, nil)
		k.o.Log = discard
		k.restart()
		want := map[string]bool{} // by job name or file: whether it is to be accepted
		n := 0
		life := func(dieAfter int) {
			k.o.Step = func(string) {
				if dieAfter--; dieAfter == 0 {
					panic(killed{})
				}
			}
			k.restart()
			defer func() {
				if p := recover(); p != nil {
					if _, ok := p.(killed); !ok {
						panic(p)
					}
				}
			}()
			k.look()
			k.pass(time.Minute)
		}
		for range rapid.IntRange(1, 12).Draw(rt, "length") {
			switch rapid.SampledFrom([]string{"good", "bad", "same name", "remove", "life", "life"}).Draw(rt, "what") {
			case "good":
				n++
				k.drop(fmt.Sprintf("f%d.yaml", n), fmt.Sprintf("name: f%d\n%s", n, good))
				want[fmt.Sprintf("f%d", n)] = true
			case "bad":
				n++
				k.drop(fmt.Sprintf("f%d.yaml", n), fmt.Sprintf("name: f%d\n%s", n, bad))
				want[fmt.Sprintf("f%d", n)] = false
			case "same name":
				k.drop("again.yaml", fmt.Sprintf("name: again\n%s# %d\n", good, time.Now().UnixNano()))
				want["again"] = true
			case "remove":
				name := fmt.Sprintf("f%d", n)
				if os.Remove(filepath.Join(k.w.Dir, name+".yaml")) == nil {
					delete(want, name)
				}
			case "life":
				life(rapid.IntRange(1, 20).Draw(rt, "steps"))
			}
		}
		life(-1)
		k.pass(time.Minute)
		jobs := map[string]int{}
		for _, j := range k.all() {
			jobs[j.Name]++
		}
		refused := strings.Join(append(k.inside(rejectedDir), ""), " ")
		for name, accepted := range want {
			switch {
			case accepted && (jobs[name] == 0 || jobs[name] > 1 && name != "again"):
				rt.Errorf("%s is %d jobs", name, jobs[name])
			case !accepted && (jobs[name] != 0 || !strings.Contains(refused, "-"+name+".yaml.reason.txt")):
				rt.Errorf("%s is %d jobs, refused: %s", name, jobs[name], refused)
			}
		}
		if accepted := len(k.inside(acceptedDir)); accepted != 2*len(k.all()) || len(k.inside(".")) != 0 {
			rt.Errorf("%d jobs, %d files in accepted, left: %v", len(k.all()), accepted, k.inside("."))
		}
		k.clean("471108", "swordfish")
		if drops, err := k.env.Drops(context.Background(), "main"); err != nil || len(drops) != len(k.all()) {
			rt.Errorf("%d drops, %v", len(drops), err)
		}
	})
}
