package voicemail_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/fakeunity"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/voicemail/voicemailtest"
)

// asked is what a peer reads of a request.
type asked struct {
	RequestID string `json:"request_id"`
	PIN       string `json:"pin"`
	User      struct {
		UserID string `json:"user_id"`
	} `json:"user"`
}

// verdict is what the peers of RunMany say to a user.
func (q asked) verdict() string {
	if n := q.User.UserID; n != "" && (n[len(n)-1]-'0')%2 == 0 {
		return "accepted"
	}
	return "rejected"
}

// says is the text with which a peer shows a behaviour, beside its status or
// exit code.
func says(does voicemailtest.Behaviour, q asked) string {
	answer := func(result, more string) string {
		return fmt.Sprintf(`{"request_id":%q,"result":%q%s,"later":{"x":[1]}}`, q.RequestID, result, more)
	}
	switch does {
	case voicemailtest.AcceptsInWords, voicemailtest.Slow, voicemailtest.Noisy, voicemailtest.BreaksOff:
		return answer("accepted", "")
	case voicemailtest.RejectsInWords:
		return answer("rejected", `,"message":"too short"`)
	case voicemailtest.InHistory:
		return answer("rejected", `,"reason":"in-history"`)
	case voicemailtest.NoMailbox:
		return answer("no-mailbox", "")
	case voicemailtest.AsksAgainInWords:
		return answer("retry", "")
	case voicemailtest.DeniesInWords:
		return answer("denied", "")
	case voicemailtest.Garbage:
		return answer("accepted", "")[:20]
	case voicemailtest.UnknownResult:
		return answer("ok", "")
	case voicemailtest.SaysTwice:
		return answer("rejected", `,"result":"accepted"`)
	case voicemailtest.Foreign:
		return `{"request_id":"11111111-2222-4333-8444-555555555555","result":"accepted"}`
	case voicemailtest.Contradicts:
		return answer("accepted", "")
	case voicemailtest.Page:
		return "<!DOCTYPE html><html><title>Sign in</title></html>"
	case voicemailtest.Floods:
		return strings.Repeat("words without end ", 1<<20/18)
	case voicemailtest.Repeats:
		return repeats(q.PIN)
	case voicemailtest.Controls:
		return "bad\x1b[2J \x00\r\u202e\xffend"
	}
	return ""
}

func repeats(pin string) string {
	raw := []byte(pin)
	percent, escaped := "", ""
	for _, b := range raw {
		percent += fmt.Sprintf("%%%02x", b)
		escaped += fmt.Sprintf(`\u%04x`, b)
	}
	return strings.Join([]string{pin, base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString([]byte(`"pin":"` + pin + `",`)),
		hex.EncodeToString(raw), percent, escaped, strings.Join(strings.Split(pin, ""), " ")}, " ")
}

// slowly is longer than a scheduler's whim and shorter than any timeout.
const slowly = 300 * time.Millisecond

func connect(t *testing.T, cfg config.Voicemail) voicemail.Connector {
	t.Helper()
	cfg.Name, cfg.Timeout, cfg.Concurrency = "test", 10*time.Second, 8
	conn, err := voicemail.Connect(&cfg, voicemail.Options{Secret: secret.New("hush-hush-4711")})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// nobodyAt returns an address on which nobody listens.
func nobodyAt(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHTTPConforms(t *testing.T) {
	voicemailtest.Run(t, voicemailtest.Kind{Connect: func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
		if does == voicemailtest.Missing {
			return nil, false
		}
		url := "http://" + nobodyAt(t)
		if does != voicemailtest.Absent {
			srv := httptest.NewServer(httpPeer(does))
			t.Cleanup(srv.Close)
			url = srv.URL
		}
		return connect(t, config.Voicemail{Type: "http", URL: url + "/pin?token=hidden"}), true
	}})
	voicemailtest.RunMany(t, func(t *testing.T, how voicemailtest.Manner) (voicemail.Connector, bool) {
		srv := httptest.NewServer(httpPeers(how))
		t.Cleanup(srv.Close)
		return connect(t, config.Voicemail{Type: "http", URL: srv.URL}), how != voicemailtest.Twice && how != voicemailtest.Unasked
	})
}

func httpPeer(does voicemailtest.Behaviour) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if does == voicemailtest.IgnoresRequest {
			w.WriteHeader(http.StatusConflict)
			return
		}
		var q asked
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &q) != nil || r.Header.Get("Idempotency-Key") != q.RequestID || q.RequestID == "" {
			panic("no request")
		}
		switch does {
		case voicemailtest.Hangs:
			<-r.Context().Done()
			return
		case voicemailtest.Drips:
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
			return
		case voicemailtest.Dies:
			panic(http.ErrAbortHandler)
		case voicemailtest.Slow:
			time.Sleep(slowly)
		case voicemailtest.Redirects:
			w.Header().Set("Location", "https://elsewhere.example.com/"+q.PIN)
		case voicemailtest.BreaksOff:
			w.Header().Set("Content-Length", "500")
		}
		status := map[voicemailtest.Behaviour]int{
			voicemailtest.Rejects: 409, voicemailtest.AsksAgain: 429, voicemailtest.Denies: 403, voicemailtest.Fails: 500,
			voicemailtest.Contradicts: 422, voicemailtest.Floods: 400, voicemailtest.Repeats: 400, voicemailtest.Controls: 400,
			voicemailtest.Redirects: 302,
		}[does]
		if status != 0 {
			w.WriteHeader(status)
		}
		io.WriteString(w, says(does, q))
	}
}

func httpPeers(how voicemailtest.Manner) http.Handler {
	inOrder := backwards(how)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q asked
		json.NewDecoder(r.Body).Decode(&q)
		if how == voicemailtest.DiesBetween {
			w.Header().Set("Connection", "close")
		}
		inOrder(q.User.UserID)
		fmt.Fprintf(w, `{"request_id":%q,"result":%q}`, q.RequestID, q.verdict())
	})
}

// backwards lets peers answer in the order of their arrival, or the last one
// first when all are there.
func backwards(how voicemailtest.Manner) func(userID string) {
	if how != voicemailtest.Backwards {
		return func(string) {}
	}
	var mu sync.Mutex
	var there []chan struct{}
	return func(string) {
		mu.Lock()
		mine := make(chan struct{})
		there = append(there, mine)
		if len(there) == voicemailtest.Together {
			close(mine)
		}
		at := len(there) - 1
		mu.Unlock()
		<-mine
		if at > 0 {
			mu.Lock()
			close(there[at-1])
			mu.Unlock()
		} else {
			mu.Lock()
			there = nil
			mu.Unlock()
		}
	}
}

func TestUnityConforms(t *testing.T) {
	voicemailtest.Run(t, voicemailtest.Kind{Connect: func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
		if does == voicemailtest.Absent {
			return connect(t, config.Voicemail{Type: "unity", URL: "https://" + nobodyAt(t), User: "api"}), true
		}
		fault, ok := unityFault(does)
		if !ok {
			return nil, false
		}
		srv := fakeunity.New("api", "hush-hush-4711")
		if does != voicemailtest.NoMailbox {
			srv.Add("jdoe")
		}
		srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
			if r.Kind == "put" {
				return fault
			}
			return fakeunity.Fault{}
		}
		return connectUnity(t, srv), true
	}})
	voicemailtest.RunMany(t, func(t *testing.T, how voicemailtest.Manner) (voicemail.Connector, bool) {
		srv := fakeunity.New("api", "hush-hush-4711")
		for n := range voicemailtest.Together {
			srv.Add(fmt.Sprintf("user%d", n))
		}
		inOrder := backwards(how)
		srv.Fault = func(r fakeunity.Request) fakeunity.Fault {
			if r.Kind != "put" {
				return fakeunity.Fault{}
			}
			inOrder(r.Alias)
			var q asked
			if q.User.UserID = r.Alias; q.verdict() == "rejected" {
				return fakeunity.Fault{Status: 400}
			}
			return fakeunity.Fault{}
		}
		return connectUnity(t, srv), how == voicemailtest.AtOnce || how == voicemailtest.Backwards
	})
}

func connectUnity(t *testing.T, srv *fakeunity.Server) voicemail.Connector {
	t.Helper()
	url, ca, err := srv.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		if v := srv.Violations(); len(v) > 0 {
			t.Errorf("sent what the guide does not allow: %q", v)
		}
	})
	return connect(t, config.Voicemail{Type: "unity", URL: url, CAFile: ca, User: "api"})
}

func unityFault(does voicemailtest.Behaviour) (f fakeunity.Fault, ok bool) {
	refusal := func(text string) fakeunity.Fault {
		message, _ := json.Marshal(text)
		return fakeunity.Fault{Status: 400, Body: `{"errors":{"code":"DATA_EXCEPTION","message":` + string(message) + `}}`}
	}
	words := says(does, asked{PIN: voicemailtest.PIN})
	f, ok = map[voicemailtest.Behaviour]fakeunity.Fault{
		voicemailtest.Accepts:        {},
		voicemailtest.AcceptsInWords: {Status: 200, Done: true, Body: "{}"},
		voicemailtest.Rejects:        {Status: 400},
		voicemailtest.RejectsInWords: refusal("Trivial credential"),
		voicemailtest.InHistory:      refusal("Repeat credentials prohibited by credential policy"),
		voicemailtest.NoMailbox:      {},
		voicemailtest.AsksAgain:      {Status: 429, RetryAfter: "1"},
		voicemailtest.Denies:         {Status: 403},
		voicemailtest.Hangs:          {Delay: time.Hour},
		voicemailtest.Dies:           {LoseAnswer: true},
		voicemailtest.Fails:          {Status: 500},
		voicemailtest.Garbage:        {Status: 200, Done: true, Body: `{"errors":`},
		voicemailtest.Contradicts:    {Status: 200, Done: true, Body: `{"errors":{"code":"DATA_EXCEPTION","message":"Trivial credential"}}`},
		voicemailtest.IgnoresRequest: {Status: 400},
		voicemailtest.Floods:         {Status: 400, Body: words},
		voicemailtest.Repeats:        refusal(words),
		voicemailtest.Controls:       refusal(words),
		voicemailtest.Slow:           {Delay: slowly},
		voicemailtest.Page:           {Login: true},
		voicemailtest.Redirects:      {Redirect: true},
	}[does]
	return f, ok
}

func TestExecConforms(t *testing.T) {
	voicemailtest.Run(t, voicemailtest.Kind{Connect: func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
		switch does {
		case voicemailtest.Page, voicemailtest.BreaksOff, voicemailtest.Redirects:
			return nil, false
		case voicemailtest.Missing:
			return connect(t, config.Voicemail{Type: "exec", Command: []string{"/no/such/hook"}}), true
		}
		return connect(t, config.Voicemail{Type: "exec", Command: hookCommand(t, "exec", string(does))}), true
	}})
	voicemailtest.RunMany(t, func(t *testing.T, how voicemailtest.Manner) (voicemail.Connector, bool) {
		return connect(t, config.Voicemail{Type: "exec", Command: hookCommand(t, "execs", string(how))}), how == voicemailtest.AtOnce || how == voicemailtest.Unasked
	})
}

// hookCommand runs this test binary as a hook; see TestMain.
func hookCommand(t *testing.T, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{self, "hook"}, args...)
}

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "hook" {
		switch does := os.Args[3]; os.Args[2] {
		case "exec":
			os.Exit(execPeer(voicemailtest.Behaviour(does)))
		case "execs":
			os.Exit(execPeers(voicemailtest.Manner(does)))
		case "stream":
			os.Exit(streamPeer(voicemailtest.Behaviour(does)))
		case "streams":
			os.Exit(streamPeers(voicemailtest.Manner(does)))
		}
	}
	os.Exit(m.Run())
}

func execPeer(does voicemailtest.Behaviour) int {
	if does == voicemailtest.IgnoresRequest {
		return 65
	}
	var q asked
	if json.NewDecoder(os.Stdin).Decode(&q) != nil || q.RequestID == "" {
		return 64
	}
	switch does {
	case voicemailtest.Hangs:
		time.Sleep(time.Hour)
	case voicemailtest.Drips:
		drip()
	case voicemailtest.Dies:
		die()
	case voicemailtest.Slow:
		time.Sleep(slowly)
	}
	code, ok := map[voicemailtest.Behaviour]int{
		voicemailtest.Rejects: 65, voicemailtest.AsksAgain: 75, voicemailtest.Denies: 77, voicemailtest.Absent: 69, voicemailtest.Fails: 1,
		voicemailtest.RejectsInWords: 3, voicemailtest.InHistory: 65, voicemailtest.NoMailbox: 67, voicemailtest.Contradicts: 65,
		voicemailtest.Floods: 65, voicemailtest.Repeats: 65, voicemailtest.Controls: 65,
	}[does]
	if text := says(does, q); text != "" {
		if ok && code == 65 {
			os.Stderr.WriteString(text)
		}
		fmt.Println("a line before")
		fmt.Println(text)
	}
	return code
}

func drip() {
	for {
		os.Stdout.WriteString(" ")
		time.Sleep(10 * time.Millisecond)
	}
}

func die() {
	self, _ := os.FindProcess(os.Getpid())
	self.Kill()
	time.Sleep(time.Hour)
}

func execPeers(how voicemailtest.Manner) int {
	var q asked
	json.NewDecoder(os.Stdin).Decode(&q)
	if how == voicemailtest.Unasked {
		fmt.Println(says(voicemailtest.Foreign, q))
	}
	fmt.Printf(`{"request_id":%q,"result":%q}`+"\n", q.RequestID, q.verdict())
	return 0
}

func TestStreamConforms(t *testing.T) {
	voicemailtest.Run(t, voicemailtest.Kind{
		Silent: []voicemailtest.Behaviour{voicemailtest.Garbage, voicemailtest.Foreign},
		Connect: func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
			switch does {
			case voicemailtest.Accepts, voicemailtest.Rejects, voicemailtest.AsksAgain, voicemailtest.Denies, voicemailtest.Contradicts,
				voicemailtest.IgnoresRequest, voicemailtest.Page, voicemailtest.Redirects, voicemailtest.Absent:
				return nil, false // its process has nothing but words
			case voicemailtest.Missing:
				return connect(t, config.Voicemail{Type: "stream", Command: []string{"/no/such/hook"}}), true
			}
			return connect(t, config.Voicemail{Type: "stream", Command: hookCommand(t, "stream", string(does))}), true
		}})
	voicemailtest.RunMany(t, func(t *testing.T, how voicemailtest.Manner) (voicemail.Connector, bool) {
		return connect(t, config.Voicemail{Type: "stream", Command: hookCommand(t, "streams", string(how))}), how != voicemailtest.DiesBetween
	})
}

func streamPeer(does voicemailtest.Behaviour) int {
	in := json.NewDecoder(os.Stdin)
	for {
		var q asked
		if in.Decode(&q) != nil {
			return 0
		}
		text := says(does, q)
		switch does {
		case voicemailtest.Hangs:
			continue
		case voicemailtest.Drips:
			drip()
		case voicemailtest.Dies:
			die()
		case voicemailtest.Fails:
			fmt.Fprintln(os.Stderr, "Traceback: cannot set", q.PIN)
			return 1
		case voicemailtest.BreaksOff:
			os.Stdout.WriteString(text[:len(text)/2])
			return 0
		case voicemailtest.Slow:
			time.Sleep(slowly)
		case voicemailtest.Floods:
			fmt.Println(text)
			text = says(voicemailtest.RejectsInWords, q)
		case voicemailtest.Noisy:
			fmt.Print("starting up\n\n{\"level\":\"info\"}\n[1]\nnull\n" + says(voicemailtest.Foreign, q) + "\n")
			text += "\nbye " + q.PIN
		case voicemailtest.Repeats, voicemailtest.Controls:
			message, _ := json.Marshal(text)
			text = fmt.Sprintf(`{"request_id":%q,"result":"rejected","message":%s}`, q.RequestID, message)
		}
		fmt.Println(text)
	}
}

func streamPeers(how voicemailtest.Manner) int {
	in := json.NewDecoder(os.Stdin)
	other := map[string]string{"accepted": "rejected", "rejected": "accepted"}
	answer := func(id, result string) { fmt.Printf(`{"request_id":%q,"result":%q}`+"\n", id, result) }
	var all []asked
	for {
		var q asked
		if in.Decode(&q) != nil {
			return 0
		}
		switch how {
		case voicemailtest.Backwards:
			if all = append(all, q); len(all) == voicemailtest.Together {
				for i := range all {
					answer(all[len(all)-1-i].RequestID, all[len(all)-1-i].verdict())
				}
				all = nil
			}
			continue
		case voicemailtest.Unasked:
			answer("11111111-2222-4333-8444-555555555555", other[q.verdict()])
		}
		answer(q.RequestID, q.verdict())
		switch how {
		case voicemailtest.Twice:
			answer(q.RequestID, other[q.verdict()])
		case voicemailtest.DiesBetween:
			return 1
		}
	}
}

// writePEM writes a certificate where ca_file can name it.
func writePEM(t *testing.T, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
