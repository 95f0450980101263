package voicemail_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/voicemail"
	"github.com/dirpin/dirpin/internal/voicemail/voicemailtest"
)

// asked is what a peer reads of a request.
type asked struct {
	RequestID string `json:"request_id"`
	PIN       string `json:"pin"`
}

// says is the text with which a peer shows a behaviour, beside its status or
// exit code.
func says(does voicemailtest.Behaviour, q asked) string {
	answer := func(result, more string) string {
		return fmt.Sprintf(`{"request_id":%q,"result":%q%s,"later":{"x":[1]}}`, q.RequestID, result, more)
	}
	switch does {
	case voicemailtest.AcceptsInWords:
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

func TestHTTPConforms(t *testing.T) {
	voicemailtest.Run(t, func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
		url := ""
		if does == voicemailtest.Absent {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			url = "http://" + l.Addr().String()
			l.Close()
		} else {
			srv := httptest.NewServer(httpPeer(does))
			t.Cleanup(srv.Close)
			url = srv.URL
		}
		return connect(t, config.Voicemail{Type: "http", URL: url + "/pin?token=hidden"}), true
	})
}

func connect(t *testing.T, cfg config.Voicemail) voicemail.Connector {
	t.Helper()
	cfg.Name, cfg.Timeout, cfg.Concurrency = "test", 10*time.Second, 8
	conn, err := voicemail.Connect(&cfg, voicemail.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return conn
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
		}
		status := map[voicemailtest.Behaviour]int{
			voicemailtest.Rejects: 409, voicemailtest.AsksAgain: 429, voicemailtest.Denies: 403, voicemailtest.Fails: 500,
			voicemailtest.Contradicts: 422, voicemailtest.Floods: 400, voicemailtest.Repeats: 400, voicemailtest.Controls: 400,
		}[does]
		if status != 0 {
			w.WriteHeader(status)
		}
		io.WriteString(w, says(does, q))
	}
}

func TestExecConforms(t *testing.T) {
	voicemailtest.Run(t, func(t *testing.T, does voicemailtest.Behaviour) (voicemail.Connector, bool) {
		return connect(t, config.Voicemail{Type: "exec", Command: hookCommand(t, string(does))}), true
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
	if len(os.Args) > 2 && os.Args[1] == "hook" {
		os.Exit(execPeer(voicemailtest.Behaviour(os.Args[2])))
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
		for {
			os.Stdout.WriteString(" ")
			time.Sleep(10 * time.Millisecond)
		}
	case voicemailtest.Dies:
		self, _ := os.FindProcess(os.Getpid())
		self.Kill()
		time.Sleep(time.Hour)
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
