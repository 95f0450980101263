package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/go-ldap/ldap/v3"
)

// Client is a go-ldap connection with a tap below. What go-ldap offers works
// as always; Stream and Start are the fast lane.
type Client struct {
	*ldap.Conn
	Tap *Conn

	starting sync.Mutex // one stream is being sent
}

// Dial connects to a server. Network is tcp or unix, the address host:port or
// the path of a socket.
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	var d net.Dialer
	socket, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c, err := Open(ctx, socket, o)
	if err != nil {
		return nil, err
	}
	return NewClient(c), nil
}

// NewClient puts go-ldap on top of a connection.
func NewClient(c *Conn) *Client {
	_, encrypted := c.TLS()
	l := ldap.NewConn(c, encrypted)
	l.Start()
	return &Client{Conn: l, Tap: c}
}

// Result is what a search came to besides its entries.
type Result struct {
	Entries   int64          // that the handler received
	Referrals int            // that the server sent in place of entries
	URLs      []string       // of the first few of them
	Controls  []ldap.Control // of the result
}

// keepURLs bounds Result.URLs, whatever the server sends.
const keepURLs = 100

// Stream is a search in progress.
type Stream struct {
	*Binding
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	result Result
	err    error
}

// Stream sends a search and returns when the server has ended it, or the
// context did. The handler runs no more then. An error of the server is an
// *ldap.Error, one of the handler comes as it is. Without an error the answer
// was complete: the server said success.
//
// Where the context ends the connection lives on, and what the server still
// sends is dropped; whoever expects much of that closes it.
func (c *Client) Stream(ctx context.Context, r *ldap.SearchRequest, h Handler) (*Result, error) {
	s := c.Start(ctx, r, h)
	return s.Wait()
}

// Start sends a search and does not wait for its end: one that persists has
// none. Wait must be called. While Start runs no other search may be sent by
// the methods of go-ldap.
func (c *Client) Start(ctx context.Context, r *ldap.SearchRequest, h Handler) *Stream {
	c.starting.Lock()
	defer c.starting.Unlock()
	s := &Stream{done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.Binding = c.Tap.Handle(h)
	go s.drain(c, c.SearchAsync(s.ctx, r, 16))
	select {
	case <-s.Bound():
	case <-s.done:
	}
	s.Release()
	return s
}

// Wait returns when the search has ended; see Client.Stream.
func (s *Stream) Wait() (*Result, error) {
	<-s.done
	s.cancel()
	s.Stop()
	s.result.Entries = s.Binding.Entries()
	return &s.result, s.err
}

// drain receives what passes.
func (s *Stream) drain(c *Client, r ldap.Response) {
	defer close(s.done)
	for r.Next() {
		if e := r.Entry(); e != nil { // that the library sees one where the tap did not
			s.err = malformed("an entry in an envelope that is none")
			s.cancel()
			break
		}
		if url := r.Referral(); url != "" {
			s.result.Referrals++
			if len(s.result.URLs) < keepURLs {
				s.result.URLs = append(s.result.URLs, url)
			}
		}
		s.result.Controls = r.Controls()
	}
	switch err := c.Tap.Err(); {
	case s.err != nil:
	case s.ctx.Err() != nil:
		s.err = s.ctx.Err()
	case s.Done() > 0: // even if the server closed the connection thereafter
		s.err = r.Err()
	case err == io.EOF: // it ended before this search began
		s.err = fmt.Errorf("%w: %w", ErrCut, err)
	case err != nil:
		s.err = err
	case r.Err() != nil:
		s.err = r.Err()
	default:
		// The library ends a search quietly too when the connection was closed,
		// or when it stumbled over the answer.
		s.err = fmt.Errorf("%w: %w", ErrCut, errors.Join(c.GetLastError(), net.ErrClosed))
	}
}
