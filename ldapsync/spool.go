package ldapsync

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	spoolChunk  = 256 << 10
	spoolMemory = 12 // chunks that are kept in memory
)

// spool is a queue of messages between the goroutine that reads the directory
// and the one that writes the database. It never makes the reader wait: a
// server forgets an answer that is not fetched within minutes. What does not
// fit into a few megabytes goes to a file without a name.
type spool struct {
	mu     sync.Mutex
	more   sync.Cond
	put    []byte   // the chunk that is being filled
	memory [][]byte // full chunks, the oldest first
	file   *os.File
	filed  []int64 // lengths of the chunks in the file that were not taken yet
	from   int64   // where the first of them begins
	end    int64   // where the next one goes
	spare  []byte
	held   bool  // nothing is given out yet
	done   bool  // nothing more comes
	err    error // that ends the reading, or the writing

	taken []byte // of the receiver: the chunk at hand
}

func newSpool() *spool {
	s := new(spool)
	s.more.L = &s.mu
	return s
}

// add appends a copy of the message.
func (s *spool) add(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.put == nil {
		s.put, s.spare = s.spare, nil
		if s.put == nil {
			s.put = make([]byte, 0, spoolChunk)
		}
	}
	s.put = binary.LittleEndian.AppendUint32(s.put, uint32(len(message)))
	s.put = append(s.put, message...)
	if len(s.put) >= spoolChunk*7/8 {
		s.err = s.store()
	}
	s.more.Signal()
	return s.err
}

// store puts the filled chunk behind the others. s.mu is held.
func (s *spool) store() (err error) {
	chunk := s.put
	s.put = nil
	if len(s.filed) == 0 && len(s.memory) < spoolMemory {
		s.memory = append(s.memory, chunk)
		return nil
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "dirpin-spool-"); err != nil {
			return fmt.Errorf("keeping what the directory says: %w", err)
		}
		os.Remove(s.file.Name()) // Windows keeps it until it is closed
	}
	if len(s.filed) == 0 {
		s.from, s.end = 0, 0
	}
	if _, err := s.file.WriteAt(chunk, s.end); err != nil {
		return fmt.Errorf("keeping what the directory says: %w", err)
	}
	s.end += int64(len(chunk))
	s.filed = append(s.filed, int64(len(chunk)))
	s.recycle(chunk)
	return nil
}

func (s *spool) recycle(chunk []byte) {
	if s.spare == nil && cap(chunk) <= 2*spoolChunk {
		s.spare = chunk[:0]
	}
}

// hold has next wait until release.
func (s *spool) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

func (s *spool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	s.more.Broadcast()
}

// drop forgets what was not taken yet.
func (s *spool) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory, s.filed, s.put = nil, nil, nil
}

// finish says that nothing more comes, because of err where there is one: what
// was not taken yet is then of no use.
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.held = true, false
	if s.err == nil {
		s.err = err
	}
	s.more.Broadcast()
}

// errSpent is what comes behind the last message. It is nobody else's: io.EOF
// may be the reason for which a reading ended, and then what came is worth
// nothing.
var errSpent = errors.New("there are no more messages")

// next returns the next message, which is valid until the one after; errSpent
// behind the last.
func (s *spool) next() ([]byte, error) {
	if len(s.taken) == 0 {
		if err := s.take(); err != nil {
			return nil, err
		}
	}
	n := binary.LittleEndian.Uint32(s.taken)
	message := s.taken[4 : 4+n]
	s.taken = s.taken[4+n:]
	return message, nil
}

// take fetches a chunk.
func (s *spool) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recycle(s.taken)
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.held:
		case len(s.memory) > 0:
			s.taken = s.memory[0]
			s.memory = s.memory[1:]
			return nil
		case len(s.filed) > 0:
			s.taken = make([]byte, s.filed[0])
			if _, err := s.file.ReadAt(s.taken, s.from); err != nil {
				return fmt.Errorf("reading back what the directory said: %w", err)
			}
			s.from += s.filed[0]
			s.filed = s.filed[1:]
			return nil
		case len(s.put) > 0:
			s.taken, s.put = s.put, nil
			return nil
		case s.done:
			return errSpent
		}
		s.more.Wait()
	}
}

// close ends both sides.
func (s *spool) close() {
	s.finish(io.ErrClosedPipe)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
		s.file = nil
	}
}
