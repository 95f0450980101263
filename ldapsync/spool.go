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
	spoolMemory = 6   // chunks that are kept in memory
	spoolFile   = 256 // chunks that the file has room for
	spoolSpare  = 2   // empty ones that are kept for the next
)

// spool is a queue of messages between the goroutine that reads the directory
// and those that write the database. A server forgets an answer that is not
// fetched within minutes, so that the reader must not wait for a database that
// is busy: what does not fit into a few megabytes of memory goes to a file
// without a name. Where 64 MiB are full too, the reader does wait: then it goes
// as fast as the database, which fetches the next page often enough.
type spool struct {
	mu    sync.Mutex
	more  sync.Cond // there is more to take, or the end
	room  sync.Cond // there is room, or the end
	put   []byte    // the chunk that is being filled
	queue []spooled // full ones, the oldest first
	kept  int       // of them, how many are in memory
	most  int       // places in the file; 0: as many as it takes
	file  *os.File
	free  []int // places in the file that are free again
	used  int   // places that were ever used
	spare [][]byte
	done  bool  // nothing more comes
	err   error // that ends the reading, or the writing

	taken []byte // of the receiver: what is left of the chunk at hand
	whole []byte // all of it
}

// spooled is a chunk of messages, in memory or in a place of the file.
type spooled struct {
	memory []byte
	place  int
	size   int
}

// newSpool returns an empty spool. Without a bound nobody needs to take while
// messages are added.
func newSpool(bounded bool) *spool {
	s := new(spool)
	if bounded {
		s.most = spoolFile
	}
	s.more.L, s.room.L = &s.mu, &s.mu
	return s
}

// add appends a copy of the message.
func (s *spool) add(message []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.put != nil && len(s.put)+4+len(message) > spoolChunk {
		if err := s.store(); err != nil && s.err == nil {
			s.err = err
		}
	}
	if s.err != nil {
		return s.err
	}
	if s.put == nil {
		s.put = s.empty()
	}
	s.put = binary.LittleEndian.AppendUint32(s.put, uint32(len(message)))
	s.put = append(s.put, message...)
	s.more.Signal()
	return nil
}

// store puts the filled chunk behind the others. s.mu is held.
func (s *spool) store() error {
	giant := len(s.put) > spoolChunk // one message, which is worth no place
	full := func() bool {
		return s.most > 0 && s.kept >= spoolMemory && (len(s.free) == 0 && s.used >= s.most || giant && s.kept >= 2*spoolMemory)
	}
	for full() && s.err == nil {
		s.room.Wait()
	}
	c := spooled{memory: s.put, size: len(s.put)}
	s.put = nil
	if s.err != nil {
		return s.err
	}
	if s.kept < spoolMemory || giant {
		s.kept++
	} else if err := s.toFile(&c); err != nil {
		return fmt.Errorf("keeping what the directory says: %w", err)
	}
	s.queue = append(s.queue, c)
	return nil
}

func (s *spool) toFile(c *spooled) (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "dirpin-spool-"); err != nil {
			return err
		}
		os.Remove(s.file.Name()) // Windows keeps it until it is closed
	}
	if n := len(s.free); n > 0 {
		c.place, s.free = s.free[n-1], s.free[:n-1]
	} else {
		c.place = s.used
		s.used++
	}
	_, err = s.file.WriteAt(c.memory, int64(c.place)*spoolChunk)
	s.recycle(c.memory)
	c.memory = nil
	return err
}

// empty returns an empty chunk. s.mu is held.
func (s *spool) empty() []byte {
	n := len(s.spare)
	if n == 0 {
		return make([]byte, 0, spoolChunk)
	}
	b := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return b
}

// recycle keeps a chunk that is done with. s.mu is held.
func (s *spool) recycle(b []byte) {
	if len(s.spare) < spoolSpare && cap(b) >= spoolChunk && cap(b) <= 2*spoolChunk {
		s.spare = append(s.spare, b[:0])
	}
}

// drop forgets what was not taken yet.
func (s *spool) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.queue {
		s.forget(c)
	}
	s.queue, s.put = nil, nil
}

// forget frees the place of a chunk. s.mu is held.
func (s *spool) forget(c spooled) {
	if c.memory != nil {
		s.kept--
	} else {
		s.free = append(s.free, c.place)
	}
	s.room.Signal()
}

// finish says that nothing more comes, because of err where there is one: what
// was not taken yet is then of no use.
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.err == nil {
		s.err = err
	}
	s.more.Broadcast()
	s.room.Broadcast()
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
	s.recycle(s.whole)
	s.taken, s.whole = nil, nil
	for {
		switch {
		case s.err != nil:
			return s.err
		case len(s.queue) > 0:
			c := s.queue[0]
			s.queue = s.queue[1:]
			s.taken = c.memory
			var err error
			if c.memory == nil {
				if s.taken = s.empty(); cap(s.taken) < c.size {
					s.taken = make([]byte, c.size)
				}
				s.taken = s.taken[:c.size]
				_, err = s.file.ReadAt(s.taken, int64(c.place)*spoolChunk)
			}
			s.whole = s.taken
			s.forget(c)
			if err != nil {
				return fmt.Errorf("reading back what the directory said: %w", err)
			}
			return nil
		case len(s.put) > 0:
			s.taken, s.whole, s.put = s.put, s.put, nil
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
