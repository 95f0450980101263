package ldapsync

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
)

// message is the i-th, of a size of its own.
func message(i int) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1+i*37%3000)
}

func wantMessages(t *testing.T, s *spool, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		m, err := s.next()
		if err != nil || !bytes.Equal(m, message(i)) {
			t.Fatalf("message %d: %d bytes, %v", i, len(m), err)
		}
	}
}

func add(t *testing.T, s *spool, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := s.add(message(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpoolKeepsTheOrder: in memory, through the file, and back.
func TestSpoolKeepsTheOrder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newSpool(true)
	defer s.close()
	add(t, s, 0, 10)
	wantMessages(t, s, 0, 10)
	const n = 8000 // 12 MB: more than it keeps in memory
	add(t, s, 0, n)
	if s.used == 0 || s.kept != spoolMemory {
		t.Fatalf("%d chunks in the file, %d in memory", s.used, s.kept)
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
		t.Errorf("a file with a name: %v", left)
	}
	wantMessages(t, s, 0, n/2)
	add(t, s, n, n+100)
	wantMessages(t, s, n/2, n+100)
	used := s.used
	add(t, s, 0, n)
	if s.used > used+1 {
		t.Errorf("%d places of the file, and then %d for as much", used, s.used)
	}
	wantMessages(t, s, 0, n)
	giant := make([]byte, 5<<20)
	if err := s.add(giant); err != nil {
		t.Fatal(err)
	}
	s.finish(nil)
	if m, err := s.next(); err != nil || len(m) != len(giant) {
		t.Errorf("a giant: %d bytes, %v", len(m), err)
	}
	for range 2 {
		if _, err := s.next(); err != errSpent {
			t.Errorf("behind the last: %v", err)
		}
	}
}

func TestSpoolWaitsAndDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(true)
		defer s.close()
		got := make(chan []byte)
		go func() {
			for {
				m, err := s.next()
				if err != nil {
					close(got)
					return
				}
				got <- bytes.Clone(m)
			}
		}()
		add(t, s, 1, 2)
		if m := <-got; !bytes.Equal(m, message(1)) {
			t.Error("another message")
		}
		synctest.Wait() // it waits for more
		add(t, s, 2, 3)
		synctest.Wait() // the receiver has it in hand
		add(t, s, 3, 5)
		s.drop()
		add(t, s, 5, 6)
		for _, i := range []int{2, 5} {
			if m := <-got; !bytes.Equal(m, message(i)) {
				t.Errorf("not message %d", i)
			}
		}
		s.finish(nil)
		if _, ok := <-got; ok {
			t.Error("more than there was")
		}
	})
}

func TestSpoolEndsWithAnError(t *testing.T) {
	boom := errors.New("boom")
	s := newSpool(true)
	add(t, s, 0, 3)
	s.finish(boom)
	if _, err := s.next(); err != boom {
		t.Errorf("what comes before an error is of no use: %v", err)
	}
	if err := s.add(nil); err != boom {
		t.Errorf("add: %v", err)
	}
	s.close()
	s = newSpool(true)
	add(t, s, 0, 3)
	s.finish(io.EOF) // the connection's
	if _, err := s.next(); err != io.EOF {
		t.Errorf("an end that is an error: %v", err)
	}
	s.close()

	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	s = newSpool(true)
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = s.add(message(i))
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no place for the file: %v", err)
	}
	if _, err := s.next(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the receiver: %v", err)
	}
	s.close()
}

// TestSpoolIsBounded: the reader waits for the writer at last, and not for ever.
func TestSpoolIsBounded(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(true)
		defer s.close()
		big := make([]byte, 100<<10)
		added := 0
		done := make(chan error, 1)
		fill := func(s *spool, n int) {
			var err error
			for ; n > 0 && err == nil; n-- {
				if err = s.add(big); err == nil {
					added++
				}
			}
			if err == nil {
				s.finish(nil)
			}
			done <- err
		}
		const n = 2000 // 200 MB
		go fill(s, n)
		synctest.Wait()
		if held := added * len(big); held > 80<<20 || held < 50<<20 {
			t.Errorf("%d bytes were taken before it waits", held)
		}
		for i := range n {
			if m, err := s.next(); err != nil || len(m) != len(big) {
				t.Fatalf("message %d: %d bytes, %v", i, len(m), err)
			}
		}
		if err := <-done; err != nil || s.used > spoolFile {
			t.Errorf("%v, %d places", err, s.used)
		}
		// Nor does it wait for a writer that has given up.
		s = newSpool(true)
		defer s.close()
		go fill(s, n)
		synctest.Wait()
		s.finish(io.ErrClosedPipe)
		if err := <-done; err != io.ErrClosedPipe {
			t.Errorf("the end: %v", err)
		}
	})
}
