package resetjob

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the bare loop's driver

	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/voicemail"
)

// agreeable accepts everything at once: what is left is the journal and the commit.
type agreeable struct{}

func (agreeable) Send(context.Context, voicemail.Attempt) voicemail.Answer {
	return voicemail.Answer{Class: voicemail.Answered, Result: voicemail.Accepted}
}

func (agreeable) Close() error { return nil }

// Journal and commit with cheap hashing and a system that answers at once,
// against a loop that does nothing but the same row writes in groups of the
// same size.
func BenchmarkRatioJournalToBareWrites(b *testing.B) {
	const users, concurrency = 100_000, 256
	for b.Loop() {
		k := benchKit(b, credential.Params{Memory: 8, Time: 1, Threads: 1}, concurrency, users)
		cfg := &k.env.Config.Voicemail[0]
		k.env.Router = voicemail.NewRouter(voicemail.NewWith(cfg, agreeable{}, voicemail.Options{}))
		groups := 0
		k.env.Step = func(name string) {
			if name == "written" {
				groups++
			}
		}
		id := k.submit(generated).ID
		l, err := k.env.load(context.Background(), k.job(id))
		k.must(err)
		k.must(k.env.open(context.Background(), l, nil))
		copied := filepath.Join(k.dir, "bare.db")
		k.must(k.env.Store.Backup(context.Background(), copied))
		began := time.Now()
		j, err := k.env.Run(context.Background(), id, nil)
		k.must(err)
		ours := time.Since(began)
		if j.Counts.Updated != users {
			b.Fatalf("%+v", j.Counts)
		}
		size := users / groups
		bare := bareWrites(b, copied, id, size)
		b.ReportMetric(users/ours.Seconds(), "items/s")
		b.ReportMetric(users/bare.Seconds(), "bare-items/s")
		b.ReportMetric(float64(bare)/float64(ours), "ours/bare")
		b.ReportMetric(float64(size), "items/group")
	}
}

// bareWrites does to a copy of the opened job what the runner writes for each
// user: a transaction settles a group and journals the next one.
func bareWrites(b *testing.B, path string, job int64, size int) time.Duration {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite3", "file:"+path+"?_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_secure_delete=on&_cache_size=-8000&_txlock=immediate")
	must(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	must(err)
	defer conn.Close()
	ctx := context.Background()
	prepare := func(q string) *sql.Stmt {
		s, err := conn.PrepareContext(ctx, q)
		must(err)
		return s
	}
	journal := prepare("INSERT INTO journal (user_ref, job, seq, kind, request_id, system, entry_key, body, attempts, lost, first_at, until) VALUES (?,?,?,'pin',?,'unity','',?,0,0,?,0)")
	settle := prepare("DELETE FROM journal WHERE user_ref = ?")
	leg := prepare("UPDATE legs SET state = 'final', result = 'updated', code = 'ok', system = 'unity' WHERE job = ? AND seq = ? AND kind = 'pin'")
	item := prepare("UPDATE items SET state = 'final', result = 'updated', code = 'ok', status = 'local', at = ? WHERE job = ? AND seq = ?")
	secret := prepare("INSERT INTO credentials (user_ref, kind, hash, changed_at, must_change, job, version) VALUES (?,'pin',?,?,TRUE,?,1)")
	history := prepare("INSERT INTO history (user_ref, kind, version, tag) VALUES (?,'pin',1,?)")
	counts := prepare("UPDATE jobs SET updated = updated + ? WHERE id = ?")
	body, hash, tag := make([]byte, 470), fmt.Sprintf("%0120d", 7), make([]byte, 36)
	const requestID = "01234567-89ab-4cde-8f01-23456789abcd"
	exec := func(s *sql.Stmt, args ...any) {
		_, err := s.ExecContext(ctx, args...)
		must(err)
	}
	const users = 100_000
	began := time.Now()
	for first := 1; first <= users+size; first += size {
		now := time.Now().UnixMilli()
		tx, err := conn.BeginTx(ctx, nil)
		must(err)
		for i := max(1, first-size); i < min(first, users+1); i++ {
			exec(secret, i, hash, now, job)
			exec(history, i, tag)
			exec(leg, job, i)
			exec(item, now, job, i)
			exec(settle, i)
		}
		for i := first; i < min(first+size, users+1); i++ {
			exec(journal, i, job, i, requestID, body, now)
		}
		exec(counts, size, job)
		must(tx.Commit())
	}
	return time.Since(began)
}
