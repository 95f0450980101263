package tap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Bounds of what is taken.
const (
	// DefaultMaxMessage bounds one message, if Options do not.
	DefaultMaxMessage = 64 << 20
	// DefaultMaxValues bounds the attributes and values of one entry together,
	// if Options do not.
	DefaultMaxValues = 1 << 20

	// What passes becomes a tree of objects in the library above, ten and more
	// times as large.
	maxPassed         = 16 << 20
	maxPassedElements = 1 << 17
	maxPassedOther    = 1 << 20 // all of a message but the operation of a search entry

	initialBuffer = 64 << 10
	keepBuffer    = 1 << 20 // the largest buffer that is kept once a giant has passed
)

// Options say how a connection is made and what it takes. The zero value is a
// plain connection that waits for ever.
type Options struct {
	TLS      *tls.Config   // not nil: the connection is encrypted; ServerName is the caller's to set
	StartTLS bool          // TLS begins after a StartTLS request (RFC 4511, section 4.14), not with the first byte
	Idle     time.Duration // how long the server may send nothing while it owes an answer; 0: for ever

	MaxMessage int  // bytes of one message; 0: DefaultMaxMessage
	MaxValues  int  // attributes and values of one entry; 0: DefaultMaxValues
	NoGather   bool // do not let entries gather before reading them; see Conn.Read
}

// Handler receives what the server answers to a search, in the order in which
// it was sent, on the goroutine that reads the connection. Nothing is read
// while it runs, so a slow handler slows the server down, and it must not wait
// for an answer on the same connection. What it is given is valid until it
// returns. An error, or a panic, ends the connection.
type Handler struct {
	// Entry receives each search entry, which is then swallowed.
	Entry func(*Entry) error
	// Intermediate, if not nil, receives each intermediate response, which is
	// then swallowed; else they pass.
	Intermediate func(*Intermediate) error
	// Done, if not nil, sees the result. It passes all the same.
	Done func(*Done) error
}

// Conn is a connection to an LDAP server with handlers for some of what comes.
// It is used as any net.Conn by one reader and one writer, the library above.
type Conn struct {
	net.Conn // on top: TLS, or the wire
	wire     *wire
	idle     time.Duration
	most     int // bytes
	values   int

	// Of the reader.
	buf    []byte
	r, w   int // buf[r:w] is read and not yet consumed
	pass   int // bytes of buf[r:] to be passed on
	ent    Entry
	readID int64 // the last request that was looked up …
	readOp *request

	mu     sync.Mutex
	next   *Binding
	open   map[int64]*request // requests without a final answer
	owing  int                // of them, how many the server owes something
	err    error
	closed bool
}

// request is an operation in progress.
type request struct {
	b     *Binding // nil: its answers pass
	quiet bool     // nothing is owed at the moment
}

func newConn(top net.Conn, w *wire, o Options) *Conn {
	c := &Conn{Conn: top, wire: w, idle: o.Idle, most: o.MaxMessage, values: o.MaxValues,
		buf: make([]byte, initialBuffer), open: make(map[int64]*request)}
	if c.most <= 0 || c.most > maxLength {
		c.most = DefaultMaxMessage
	}
	if c.values <= 0 {
		c.values = DefaultMaxValues
	}
	return c
}

// Err returns the error with which reading ended, as it was; nil while the
// connection lives, and where it was closed on this side.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// TLS returns the state of the encryption; ok is false where there is none.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return state, false
	}
	return t.ConnectionState(), true
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.Conn.Close()
}

// Abort closes the socket at once, without a word to the server: Close may wait
// seconds for one that takes no bytes.
func (c *Conn) Abort() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.wire.Conn.Close()
}

// Write sends requests. It must hold whole messages, as the writes of go-ldap
// do: a message id is bound to its handler here.
func (c *Conn) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		f, err := peek(rest)
		if err != nil || f.size == 0 || f.size > len(rest) {
			return 0, errors.Join(errPartialWrite, err)
		}
		c.sent(f)
		rest = rest[f.size:]
	}
	return c.Conn.Write(p)
}

// sent keeps account of a request.
func (c *Conn) sent(f frame) {
	if f.op == opUnbind || f.op == opAbandon {
		return // these are never answered
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := new(request)
	if f.op == opSearch && c.next != nil {
		q.b = c.next
		q.b.once.Do(func() { close(q.b.bound) })
	}
	if old := c.open[f.id]; old != nil && !old.quiet {
		c.owe(-1)
	}
	c.open[f.id] = q
	c.owe(1)
}

// owe changes how many answers are owed. c.mu is held.
func (c *Conn) owe(by int) {
	c.owing += by
	c.wire.owe(c.owing > 0)
}

// handler returns the handler that an answer is for.
func (c *Conn) handler(f frame) *Binding {
	if c.readOp == nil || c.readID != f.id {
		c.mu.Lock()
		c.readID, c.readOp = f.id, c.open[f.id]
		c.mu.Unlock()
	}
	if c.readOp == nil {
		return nil
	}
	return c.readOp.b
}

// received keeps account of an answer that has come as a whole.
func (c *Conn) received(f frame) {
	if f.op == opEntry || f.op == opReference || f.op == opIntermediate {
		return // more will come
	}
	c.readOp = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.open[f.id]; q != nil {
		delete(c.open, f.id)
		if !q.quiet {
			c.owe(-1)
		}
	}
}

// Read returns bytes of the messages that pass. While entries stream in, it
// lets data gather for a moment after a short read (on Linux): servers such as
// OpenLDAP send each entry by itself, and being woken for each costs both ends
// more than the entry.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.Err(); err != nil {
		return 0, err
	}
	for c.pass == 0 {
		if err := c.advance(); err != nil {
			return 0, c.fail(err)
		}
	}
	n := copy(p, c.buf[c.r:c.r+c.pass])
	c.r += n
	c.pass -= n
	return n, nil
}

// advance deals with the message at the head of the buffer: it is swallowed, or
// marked to be passed on.
func (c *Conn) advance() error {
	f, err := peek(c.buf[c.r:c.w])
	for f.size == 0 && err == nil {
		if err = c.fill(c.w - c.r + 1); err == nil {
			f, err = peek(c.buf[c.r:c.w])
		}
	}
	if err != nil {
		return err
	}
	if f.size > c.most {
		return tooLarge("a message of %d bytes; at most %d are taken", f.size, c.most)
	}
	c.wire.hot = f.op == opEntry
	b := c.handler(f)
	swallow := b != nil && (f.op == opEntry || f.op == opIntermediate && b.h.Intermediate != nil)
	if !swallow && f.op != opEntry && f.size > maxPassedOther || f.size > maxPassed && !swallow {
		return tooLarge("a message of %d bytes (operation %#02x)", f.size, f.op)
	}
	if err := c.fill(f.size); err != nil {
		return err
	}
	c.received(f)
	msg := c.buf[c.r : c.r+f.size]
	if swallow {
		if err := c.deliver(b, f, msg); err != nil {
			return err
		}
		c.r += f.size
		return nil
	}
	if err := c.checkPassing(f, msg); err != nil {
		return err
	}
	if b != nil && f.op == opDone {
		d, err := decodeResult(msg, f, c.values)
		if err == nil {
			err = b.result(d)
		}
		if err != nil {
			return err
		}
	}
	c.pass = f.size
	return nil
}

func (c *Conn) deliver(b *Binding, f frame, msg []byte) error {
	if f.op == opEntry {
		if err := c.ent.decode(msg, f, c.values); err != nil {
			return err
		}
		return b.entry(&c.ent)
	}
	m, err := decodeIntermediate(msg, f, c.values)
	if err != nil {
		return err
	}
	return b.intermediate(m)
}

// checkPassing holds what passes to what the library above can bear.
func (c *Conn) checkPassing(f frame, msg []byte) error {
	if err := walk(msg, maxPassedElements); err != nil {
		return err
	}
	op := der(msg[f.from:])
	body, err := op.next(f.op)
	if err != nil {
		return err
	}
	if f.op == opEntry && f.size-len(body) > maxPassedOther {
		return tooLarge("controls of %d bytes", f.size-len(body))
	}
	if f.id == 0 && f.op == opExtended {
		d, err := decodeResult(msg, f, c.values)
		if err != nil {
			return err
		}
		return &DisconnectError{d.Code, string(d.Message)}
	}
	return nil
}

// fill reads until n bytes are buffered. The buffer grows with what has come,
// not with what a length promises.
func (c *Conn) fill(n int) error {
	for c.w-c.r < n {
		switch {
		case len(c.buf) > keepBuffer && n <= initialBuffer: // the giant has passed
			c.resize(initialBuffer)
			c.ent = Entry{}
		case c.r == c.w:
			c.r, c.w = 0, 0
		case c.r+n > len(c.buf) && c.r > 0:
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		}
		if c.w == len(c.buf) {
			c.resize(2 * len(c.buf))
		}
		m, err := c.Conn.Read(c.buf[c.w:])
		c.w += m
		if err != nil && c.w-c.r < n {
			return &readError{err, c.w > c.r}
		}
	}
	return nil
}

func (c *Conn) resize(size int) {
	buf := make([]byte, size)
	c.w = copy(buf, c.buf[c.r:c.w])
	c.buf, c.r = buf, 0
}

// readError is the network's.
type readError struct {
	error
	within bool // a message
}

// fail keeps the error with which reading ends.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if r, ok := err.(*readError); ok {
		if c.closed {
			return net.ErrClosed
		}
		err = r.error
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = fmt.Errorf("%w for %v: %w", ErrIdle, c.idle, err)
		case r.within:
			err = fmt.Errorf("%w: in the middle of a message: %w", ErrCut, err)
		case c.owing > 0:
			err = fmt.Errorf("%w: %w", ErrCut, err)
		}
	}
	c.err = err
	return err
}

// Binding is a handler in its place.
type Binding struct {
	c     *Conn
	h     Handler
	once  sync.Once
	bound chan struct{} // closed when a search is bound

	mu      sync.Mutex // held while the handler runs
	stopped bool
	done    int   // results that have come
	entries int64 // that were delivered
}

// Handle has h receive the answers of the searches that are sent from now on,
// until Release or Stop, or until another handler takes its place.
func (c *Conn) Handle(h Handler) *Binding {
	b := &Binding{c: c, h: h, bound: make(chan struct{})}
	c.mu.Lock()
	c.next = b
	c.mu.Unlock()
	return b
}

// Bound is closed when a search of the handler has been sent.
func (b *Binding) Bound() <-chan struct{} { return b.bound }

// Release lets searches that are sent from now on pass. Those that were sent
// keep their handler.
func (b *Binding) Release() {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	if b.c.next == b {
		b.c.next = nil
	}
}

// Stop ends the handler: when it returns the handler runs no more. What still
// comes for its searches is dropped, and is not waited for. A handler must not
// call it.
func (b *Binding) Stop() {
	b.Release()
	b.Quiet(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}

// Quiet says that the server owes nothing for the handler's searches at the
// moment, or, with false, that it does: a search that persists is quiet once
// its refresh stage is complete. Options.Idle runs only while something is
// owed. A handler may call it.
func (b *Binding) Quiet(quiet bool) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.open {
		if q.b == b && q.quiet != quiet {
			q.quiet = quiet
			if quiet {
				c.owe(-1)
			} else {
				c.owe(1)
			}
		}
	}
}

// Entries returns how many entries the handler has received.
func (b *Binding) Entries() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries
}

// Done returns how many of the handler's searches the server has ended with a
// result, good or bad, that Handler.Done had nothing against.
func (b *Binding) Done() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done
}

func (b *Binding) entry(e *Entry) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped || b.h.Entry == nil {
		return nil
	}
	defer recovered(&err)
	b.entries++
	return b.h.Entry(e)
}

func (b *Binding) intermediate(m *Intermediate) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil
	}
	defer recovered(&err)
	return b.h.Intermediate(m)
}

func (b *Binding) result(d *Done) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped && b.h.Done != nil {
		defer recovered(&err)
		if err := b.h.Done(d); err != nil {
			return err
		}
	}
	b.done++
	return nil
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}
