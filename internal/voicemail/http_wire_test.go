package voicemail

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// serve answers every connection by the function and counts the requests of
// which it saw the first line.
func serve(t *testing.T, each func(conn *net.TCPConn, n int)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				each(conn.(*net.TCPConn), n)
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/pin"
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// A connection that is cut in each phase of an exchange.
func TestHTTPClassOfEveryCut(t *testing.T) {
	request := func(c *net.TCPConn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, req.Body)
		}
	}
	for _, tt := range []struct {
		name string
		peer func(c *net.TCPConn)
		want string
	}{
		{"in the first line", func(c *net.TCPConn) { io.ReadFull(c, make([]byte, 5)); reset(c) }, "lost"},
		{"in the header", func(c *net.TCPConn) { io.ReadFull(c, make([]byte, 60)); reset(c) }, "lost"},
		{"closed in the body", func(c *net.TCPConn) { io.ReadFull(c, make([]byte, 300)); c.Close() }, "lost"},
		{"after the request, reset", func(c *net.TCPConn) { request(c); reset(c) }, "lost"},
		{"after the request, closed", func(c *net.TCPConn) { request(c) }, "lost"},
		{"half-closed", func(c *net.TCPConn) { request(c); c.CloseWrite(); io.Copy(io.Discard, c) }, "lost"},
		{"garbage in place of an answer", func(c *net.TCPConn) { request(c); io.WriteString(c, "220 mail ready 4711\r\n") }, "lost"},
		{"in the status line", func(c *net.TCPConn) { request(c); io.WriteString(c, "HTTP/1.1 20") }, "lost"},
		{"in the answer's header", func(c *net.TCPConn) { request(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") }, "lost"},
		{"endless header", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-Pad: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, "lost"},
		{"in the answer's body", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\"")
		}, "lost"},
		{"in a chunk", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"re")
		}, "lost"},
		{"in the body of a rejection", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\nno")
		}, "answered rejected"},
		{"an endless body", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := io.WriteString(c, strings.Repeat(" ", 4096)); err != nil {
					return
				}
			}
		}, "lost"},
		{"silence after the header", func(c *net.TCPConn) {
			request(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
			io.Copy(io.Discard, c)
		}, "lost"},
		{"an early rejection", func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, c)
		}, "answered rejected"},
		{"whole", func(c *net.TCPConn) { request(c); io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n") }, "answered accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var connections atomic.Int64
			url := serve(t, func(c *net.TCPConn, _ int) { connections.Add(1); tt.peer(c) })
			got := newHook(t, config.Voicemail{URL: url}, Options{}).Send(within(t, time.Second), testAttempt(t, "4711"))
			if summary(got) != tt.want {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
			if strings.Contains(got.Message, "4711") || !strings.Contains(got.Message, url) {
				t.Errorf("message %q", got.Message)
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections for one attempt", n)
			}
		})
	}
}

func TestHTTPNothingLeftBeforeTheConnectionStands(t *testing.T) {
	refusing := serve(t, func(*net.TCPConn, int) {})
	silent := serve(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	plain := serve(t, func(c *net.TCPConn, _ int) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	tls := func(url string) string { return strings.Replace(url, "http:", "https:", 1) }
	for name, url := range map[string]string{
		"no such host":              "http://no-such-host.invalid/pin",
		"nobody listens":            "http://127.0.0.1:1/pin",
		"closed in the handshake":   tls(refusing),
		"silent in the handshake":   tls(silent),
		"no TLS where TLS is asked": tls(plain),
	} {
		got := newHook(t, config.Voicemail{URL: url}, Options{}).Send(within(t, 2*time.Second), testAttempt(t, "4711"))
		if summary(got) != "not-sent" || !strings.Contains(got.Message, "no connection") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// The server closes a kept connection just as the next request leaves. Were
// GetBody set, net/http would send it again by itself, for the
// Idempotency-Key's sake.
func TestHTTPRequestOnStaleConnectionIsLostAndNotRepeated(t *testing.T) {
	var seen atomic.Int64
	url := serve(t, func(c *net.TCPConn, n int) {
		r := bufio.NewReader(c)
		for i := range 2 {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			seen.Add(1)
			io.Copy(io.Discard, req.Body)
			if i == 1 {
				return // with the second request read and unanswered
			}
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	h := newHook(t, config.Voicemail{URL: url}, Options{})
	for _, want := range []string{"answered accepted", "lost", "answered accepted"} {
		if got := h.Send(within(t, 5*time.Second), testAttempt(t, "4711")); summary(got) != want {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
	if n := seen.Load(); n != 3 {
		t.Errorf("the server saw %d requests for 3 attempts", n)
	}
}

// Many kept connections, closed by the server at any moment: each attempt is
// seen at most once, an accepted one exactly once, one that was not sent never.
func TestHTTPNeverRepeatsUnderRacingCloses(t *testing.T) {
	for _, secured := range []bool{false, true} {
		counts := make([]atomic.Int64, 400)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var n int
			fmt.Sscanf(r.Header.Get("Idempotency-Key"), "%d", &n)
			counts[n].Add(1)
		}))
		srv.Config.ErrorLog = quiet()
		start, cfg := srv.Start, config.Voicemail{}
		if secured {
			start = srv.StartTLS
		}
		start()
		cfg.URL = srv.URL
		if secured {
			cfg.CAFile = caFile(t, srv)
		}
		h := newHook(t, cfg, Options{})
		closing := make(chan struct{})
		go func() {
			for {
				select {
				case <-closing:
					return
				default:
					srv.CloseClientConnections()
				}
			}
		}()
		for n := range counts {
			a := testAttempt(t, "4711")
			a.RequestID = fmt.Sprint(n)
			got := h.Send(within(t, 10*time.Second), a)
			times := counts[n].Load()
			if times > 1 || got.Result == Accepted && times != 1 || got.Class == NotSent && times != 0 {
				t.Errorf("attempt %d, %s, was seen %d times", n, summary(got), times)
			}
		}
		close(closing)
		srv.Close()
		for n := range counts {
			if counts[n].Load() > 1 {
				t.Errorf("attempt %d was seen %d times", n, counts[n].Load())
			}
		}
	}
}

// net/http may take up several connections for one request.
func TestWireRemembersEveryConnection(t *testing.T) {
	conn := func() *countedConn {
		a, b := net.Pipe()
		go io.Copy(io.Discard, b)
		t.Cleanup(func() { a.Close(); b.Close() })
		return &countedConn{Conn: a}
	}
	first, second := conn(), conn()
	io.WriteString(first, "an earlier request")
	w := &wire{}
	w.got(first)
	w.got(second)
	if w.left() {
		t.Error("nothing was written, and it left")
	}
	w.got(first)
	io.WriteString(first, "x")
	w.got(second)
	if !w.left() {
		t.Error("a byte on the first connection is forgotten")
	}
}

func TestHTTPReadsNoMoreThanItNeeds(t *testing.T) {
	url := serve(t, func(c *net.TCPConn, _ int) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, req.Body)
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	})
	started := time.Now()
	got := newHook(t, config.Voicemail{URL: url}, Options{}).Send(within(t, 20*time.Second), testAttempt(t, "4711"))
	if took := time.Since(started); summary(got) != "lost" || !strings.Contains(got.Message, "64 KiB") || took > 10*time.Second {
		t.Errorf("after %v: %+v", took, got)
	}
}
