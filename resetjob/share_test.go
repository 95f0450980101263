package resetjob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// line counts what is on the wire, of all nodes.
type line struct {
	now, most atomic.Int64
	lag       atomic.Int64 // how long a mailbox takes
}

// node is a process of its own beside the kit's.
type node struct {
	*Env
	sent atomic.Int64
	end  func() error
}

// counted is the connector of a node.
type counted struct {
	voicemail.Connector
	n *node
	w *line
}

func (c *counted) Send(ctx context.Context, a voicemail.Attempt) voicemail.Answer {
	n := c.w.now.Add(1)
	defer c.w.now.Add(-1)
	for most := c.w.most.Load(); n > most && !c.w.most.CompareAndSwap(most, n); most = c.w.most.Load() {
	}
	c.n.sent.Add(1)
	time.Sleep(time.Duration(c.w.lag.Load()))
	return c.Connector.Send(ctx, a)
}

// node begins another process over the kit's database.
func (k *kit) node(w *line) *node {
	k.Helper()
	s, err := store.Open(context.Background(), k.place)
	k.must(err)
	owner, err := NewOwner(context.Background(), s, k.env.Ring)
	k.must(err)
	n := &node{}
	c := &counted{Connector: k.boxes, n: n, w: w}
	var systems []*voicemail.System
	for i := range k.env.Config.Voicemail {
		systems = append(systems, voicemail.NewWith(&k.env.Config.Voicemail[i], c, voicemail.Options{}))
	}
	n.Env = &Env{Config: k.env.Config, Ring: k.env.Ring, Hasher: k.env.Hasher, Store: s, Owner: owner, Router: voicemail.NewRouter(systems...), Log: slog.New(slog.DiscardHandler)}
	k.must(n.Announce(context.Background()))
	n.end = sync.OnceValue(func() error { return errors.Join(owner.Close(), s.Close()) })
	k.Cleanup(func() { n.end() })
	return n
}

// serve works on a job as the daemon does, until it has ended or ctx has.
func (n *node) serve(ctx context.Context, id int64) error {
	for ctx.Err() == nil {
		j, err := n.Work(ctx, id, Shift{Leave: true, Help: true})
		var shift *ShiftError
		var cut *InterruptedError
		switch {
		case err == nil && j != nil:
			return nil
		case err == nil, errors.Is(err, ErrBusy), errors.As(err, &shift):
			if err := n.Store.Read(context.Background(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }); err != nil || j.Stage == store.StageClosed {
				return err
			}
			time.Sleep(10 * time.Millisecond) // the daemon is told; asking is enough here
		case errors.As(err, &cut), errors.Is(err, context.Canceled):
			return nil
		default:
			return err
		}
	}
	return nil
}

// eachStore runs a test on each kind of database.
func eachStore(t *testing.T, test func(*testing.T, string, store.Options)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(t, dir, store.Options{Path: filepath.Join(dir, "dirpin.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, t.TempDir(), store.Options{URL: lab.SharedPostgres(t).Schema(t)})
	})
}

const everyone = "select: {query: all}\nreset: {pin: {generate: {length: 6}}}\ndeliver: none\n"

// Nodes come to a job and leave it, and each works on a part of it; never is
// more on the line than one of them may have alone, and nobody is asked twice.
func TestNodesShareAJob(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, dir string, place store.Options) {
		const users, concurrency = 6 * BatchSize, 8
		k := newKitAt(t, dir, place, func(c *config.Config) { c.Voicemail[0].Concurrency = concurrency })
		k.addUsers(users, nil)
		j := k.submit(everyone)
		k.must(k.env.Owner.Close())
		k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.DisownJob(j.ID, k.env.Owner.ID) }))

		var w line
		w.lag.Store(int64(20 * time.Millisecond)) // so that the job lasts until they have come and gone
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		nodes := []*node{k.node(&w), k.node(&w), k.node(&w)}
		leave, left := context.WithCancel(ctx)
		var all sync.WaitGroup
		begin := func(n *node, ctx context.Context) {
			all.Go(func() {
				if err := n.serve(ctx, j.ID); err != nil {
					t.Error(err)
				}
			})
		}
		begin(nodes[0], ctx)
		await(t, "the first node to push", func() bool { return nodes[0].sent.Load() > 20 })
		begin(nodes[1], leave)
		await(t, "the second node to push", func() bool { return nodes[1].sent.Load() > 20 })
		begin(nodes[2], ctx)
		await(t, "the third node to push", func() bool { return nodes[2].sent.Load() > 20 })
		left() // the second one leaves
		at := nodes[2].sent.Load()
		await(t, "the others to go on", func() bool { return nodes[2].sent.Load() > at+50 })
		begin(nodes[1], ctx) // and comes again
		at = nodes[1].sent.Load()
		await(t, "the second node to push again", func() bool { return nodes[1].sent.Load() > at+20 })
		w.lag.Store(0)
		all.Wait()

		if most := w.most.Load(); most != concurrency {
			t.Errorf("%d were on the wire at once, and %d may be", most, concurrency)
		}
		k.ended(j.ID, store.Done, store.Counts{Selected: users, Updated: users})
		k.held(users)
		for id, pins := range k.boxes.asked {
			if len(pins) != 1 {
				t.Errorf("%s was asked %d times", id, len(pins))
			}
		}
	})
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func (k *kit) ended(id int64, state store.State, counts store.Counts) {
	k.Helper()
	k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err == nil && (j.State != state || j.Counts != counts || j.Stage != store.StageClosed) {
			k.Errorf("job is %s (%s, %s) with %+v", j.State, j.Reason, j.Stage, j.Counts)
		}
		return err
	}))
}

// What one node finds out ends the job for all of them: who is left has one
// code, whoever had them in hand.
func TestNodesStopTogether(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, dir string, place store.Options) {
		const users = 4 * BatchSize
		k := newKitAt(t, dir, place, func(c *config.Config) { c.Voicemail[0].Concurrency = 8 })
		k.addUsers(users, nil)
		k.boxes.answer = func(user string, _ int) voicemail.Answer {
			if len(user) > 6 { // from user100 on
				return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Rejected, Message: "no"}
			}
			return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
		}
		j := k.submit(everyone + "limits: {max_failures: 40}\n")
		k.must(k.env.Owner.Close())
		k.must(k.env.Store.Write(context.Background(), func(tx *store.Tx) error { return tx.DisownJob(j.ID, k.env.Owner.ID) }))
		var w line
		var all sync.WaitGroup
		for range 2 {
			n := k.node(&w)
			all.Go(func() {
				if err := n.serve(context.Background(), j.ID); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		k.must(k.env.Store.Read(context.Background(), func(tx *store.Tx) error {
			j, err := tx.Job(j.ID)
			if err != nil {
				return err
			}
			codes, err := tx.CodeCounts(j.ID)
			c := j.Counts
			if j.State != store.Stopped || j.Stage != store.StageClosed || c.Final() != users || c.Failed < 40 || c.Failed > 40+16 {
				t.Errorf("job is %s (%s) with %+v", j.State, j.Reason, c)
			}
			if int64(len(codes)) != 3 || codes["max-failures"] != c.NotRun {
				t.Errorf("codes %v", codes)
			}
			return err
		}))
	})
}

// A job that is cancelled is not closed while another node has somebody on the
// wire: what they are told belongs into the report.
func TestNodesAwaitedAtTheEnd(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	k := newKit(t, func(c *config.Config) { c.Voicemail[0].Concurrency = 2 })
	k.addUsers(2*BatchSize, nil)
	j := k.submit(everyone)
	k.must(k.env.Announce(ctx))
	l, err := k.env.take(ctx, j.ID)
	k.must(err)
	k.must(k.env.open(ctx, l, nil))
	k.must(k.env.start(ctx, l))
	var w line
	other := k.node(&w)
	asked, answer := make(chan bool, 1), make(chan bool)
	var once sync.Once
	k.boxes.answer = func(string, int) voicemail.Answer {
		once.Do(func() { asked <- true; <-answer })
		return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
	}
	helped := make(chan error)
	go func() {
		_, err := other.Work(ctx, j.ID, Shift{Leave: true, Help: true})
		helped <- err
	}()
	<-asked
	_, _, _, err = k.env.Cancel(ctx, j.ID, "tester")
	k.must(err)
	var wait *ShiftError
	if _, err := k.env.Work(ctx, j.ID, Shift{Leave: true}); !errors.As(err, &wait) || !wait.Others {
		t.Fatalf("closing it while another node is at work: %v", err)
	}
	closed := make(chan error)
	go func() { // a foreground run waits
		_, err := k.env.Run(ctx, j.ID, nil)
		closed <- err
	}()
	close(answer)
	k.must(<-helped)
	k.must(<-closed)
	k.must(k.env.Store.Read(ctx, func(tx *store.Tx) error {
		j, err := tx.Job(j.ID)
		if err == nil && (j.State != store.Cancelled || j.Stage != store.StageClosed || j.Counts.Updated == 0 || j.Counts.Final() != 2*BatchSize) {
			t.Errorf("job is %s, %s with %+v", j.State, j.Stage, j.Counts)
		}
		return err
	}))
}

// A node whose configuration is another one lets the job alone.
func TestNodesDiffer(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.addUsers(BatchSize+1, nil)
	j := k.submit(everyone)
	l, err := k.env.take(context.Background(), j.ID)
	k.must(err)
	k.must(k.env.Announce(context.Background()))
	k.must(k.env.open(context.Background(), l, nil))
	k.must(k.env.start(context.Background(), l))
	other := k.node(&line{})
	changed := *k.env.Config
	changed.Protect = &user.Query{Match: user.MatchAll, Where: []user.Term{{Cond: &user.Condition{Field: user.FieldLastName, Op: user.IsExactly, Text: []string{"Smith"}}}}}
	other.Config = &changed
	k.must(other.Announce(context.Background()))
	_, err = other.Work(context.Background(), j.ID, Shift{Leave: true, Help: true})
	var differs *DiffersError
	if !errors.As(err, &differs) || other.sent.Load() != 0 {
		t.Errorf("%v, %d sent", err, other.sent.Load())
	}
	other.Config = k.env.Config
	if _, err = other.Work(context.Background(), j.ID, Shift{Leave: true, Help: true}); err != nil || other.sent.Load() != BatchSize+1 {
		t.Errorf("the same: %v, %d sent", err, other.sent.Load())
	}
}

// The breaker of one node keeps the others from the system, until that node says
// otherwise or is gone.
func TestNodesPauseTogether(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	var w line
	n := k.node(&w)
	system, theirs := n.Systems()[0], k.env.Systems()[0]
	ctx := context.Background()
	look := func(e *Env) {
		t.Helper()
		e.Owner.shares.looked = time.Time{}
		_, err := e.look(ctx)
		k.must(err)
	}
	k.boxes.answer = func(string, int) voicemail.Answer {
		return voicemail.Answer{Class: voicemail.NotSent, Message: "connection refused"}
	}
	for i := range 6 {
		a, err := voicemail.NewAttempt(secret.New(fmt.Sprintf(`{"version":1,"operation":"set_pin","request_id":"00000000-0000-4000-8000-00000000000%d","job":1,"item":1,"voicemail":"unity","user":{"user_id":"u%d"},"pin":"471108"}`, i, i)))
		k.must(err)
		system.Push(ctx, voicemail.Leg{Attempt: a})
	}
	until, _ := system.Tripped()
	if until.IsZero() {
		t.Fatal("the breaker is not open")
	}
	look(n.Env)
	look(k.env)
	if theirs.Closed() == nil {
		t.Fatal("the other node goes on")
	}
	if until, _ := theirs.Tripped(); !until.IsZero() {
		t.Error("the other node says so too, and both would wait for each other")
	}
	system.Follow(time.Time{}, "") // no effect on what was found out here
	if system.Closed() == nil {
		t.Error("its own pause was ended by others")
	}
	k.must(n.end())
	look(k.env)
	if err := theirs.Closed(); err != nil {
		t.Errorf("when the node is gone: %v", err)
	}
}
