package voicemail

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

func TestExecExitCodesAndAnswers(t *testing.T) {
	own := `{"request_id":"` + ownID + `",`
	for _, tt := range []struct {
		code   int
		stdout string
		want   string
	}{
		{0, "", "answered accepted"},
		{0, "all done\n", "answered accepted"},
		{0, own + `"result":"accepted"}`, "answered accepted"},
		{0, own + `"result":"rejected","reason":"in-history"}`, "answered rejected in-history"},
		{0, `{"result":"no-mailbox"}` + "\r\n", "answered no-mailbox"},
		{0, `{"result":"retry"}`, "not-sent retry"},
		{0, `{"result":"denied"}`, "answered denied"},
		{0, "\xef\xbb\xbf{\"result\":\"rejected\"}\n\n \n", "answered rejected"},
		{0, `{"result":"rejected"}` + "\nbye\n", "answered accepted"},
		{0, "log\n" + `{"result":"rejected"}`, "answered rejected"},
		{0, `{"level":"info","msg":"done"}`, "answered accepted"},
		{0, `{"result":"yes"}`, "lost"},
		{0, `{"result":"acc`, "lost"},
		{0, `{"request_id":"x","result":"accepted"}`, "lost"},
		{0, `{"request_id":"x"}`, "lost"},
		{0, `{"message":"` + strings.Repeat("x", maxLine) + `","result":"rejected"}`, "lost"},
		{0, strings.Repeat("x", 3*maxLine), "answered accepted"},

		{65, "", "answered rejected"},
		{65, `{"reason":"in-history"}`, "answered rejected in-history"},
		{65, `{"result":"rejected","reason":"in-history"}`, "answered rejected in-history"},
		{65, `{"result":"denied"}`, "answered rejected"},
		{65, `{"result":"ok"}`, "answered rejected"},
		{65, `{"result":`, "answered rejected"},
		{65, `{"result":"accepted"}`, "lost"},
		{65, `{"request_id":"x"}`, "lost"},
		{67, "", "answered no-mailbox"},
		{67, `{"result":"rejected"}`, "answered no-mailbox"},
		{67, `{"result":"accepted"}`, "lost"},
		{69, "", "not-sent"},
		{69, `{"result":"rejected"}`, "not-sent"},
		{69, `{"result":"accepted"}`, "lost"},
		{75, "", "not-sent retry"},
		{75, `{"result":"accepted"}`, "lost"},
		{77, "", "answered denied"},
		{77, `{"result":"rejected"}`, "answered denied"},
		{126, "", "answered denied"},
		{127, "", "answered denied"},

		{1, "", "lost"},
		{1, "Traceback\nValueError", "lost"},
		{1, `{"message":"no result"}`, "lost"},
		{1, `{"result":"accepted"}`, "answered accepted"},
		{2, `{"result":"rejected","reason":"in-history"}`, "answered rejected in-history"},
		{255, `{"result":"denied"}`, "answered denied"},
		{64, `{"result":"no-mailbox"}`, "answered no-mailbox"},
		{70, `{"result":"retry"}`, "not-sent retry"},
		{1, `{"request_id":"x","result":"rejected"}`, "lost"},
		{1, `{"result":"bad"}`, "lost"},
	} {
		var out, errs tail
		out.Write([]byte(tt.stdout))
		got := ended{exit: exit{code: tt.code}, stdout: &out, stderr: &errs}.judge("/hook", ownID, mask{})
		if summary(got) != tt.want {
			t.Errorf("exit %d %.60q: got %+v, want %s", tt.code, tt.stdout, got, tt.want)
		}
		if !strings.HasPrefix(got.Message, "/hook: exit ") {
			t.Errorf("exit %d: message %q", tt.code, got.Message)
		}
	}
}

func TestExecMessages(t *testing.T) {
	for _, tt := range []struct {
		exit           exit
		stdout, stderr string
		want           string
	}{
		{exit{code: 65}, "", "warming up\nPIN 593817 is \x1b[31mtoo old\x1b[0m\n", "/hook: exit 65: PIN (secret) is [31mtoo old [0m"},
		{exit{code: 65}, `{"message":"minimum age"}`, "debug", "/hook: exit 65: minimum age"},
		{exit{code: 65}, "said on stdout", "", "/hook: exit 65: said on stdout"},
		{exit{code: 1}, "", "ValueError: x", "/hook: exit 1 without an answer: ValueError: x"},
		{exit{killed: true, signaled: true}, "", "connecting to pbx1", "/hook: it was killed at the timeout: connecting to pbx1"},
		{exit{signaled: true}, "", "", "/hook: it was killed by a signal"},
		{exit{code: 0}, "", "a warning", "/hook: exit 0"},
		{exit{code: 65}, "", strings.Repeat("y", 1<<20), "/hook: exit 65: " + strings.Repeat("y", 197) + "…"},
	} {
		var out, errs tail
		out.Write([]byte(tt.stdout))
		errs.Write([]byte(tt.stderr))
		got := ended{exit: tt.exit, stdout: &out, stderr: &errs}.judge("/hook", ownID, newMask(secret.New("593817")))
		if got.Message != tt.want {
			t.Errorf("got %q, want %q", got.Message, tt.want)
		}
	}
}

func TestExecKilledHookIsLostWhateverItSaid(t *testing.T) {
	for _, e := range []exit{{killed: true, signaled: true}, {signaled: true}, {killed: true, code: 0}, {killed: true, stuck: true}} {
		var out, errs tail
		out.Write([]byte(`{"result":"accepted"}` + "\n"))
		if got := (ended{exit: e, stdout: &out, stderr: &errs}).judge("/hook", ownID, mask{}); summary(got) != "lost" {
			t.Errorf("%+v: got %+v", e, got)
		}
	}
}

// However output is cut into writes, its last line that is not blank stays, and
// no more than two lines are kept.
func TestTailKeepsTheLastLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringMatching(`[ -~]{0,30}`)).Draw(t, "lines")
		text := strings.Join(lines, "\n")
		want := ""
		for _, l := range lines {
			if s := strings.TrimSpace(l); s != "" {
				want = s
			}
		}
		var kept tail
		for rest := []byte(text); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if wrote, err := kept.Write(rest[:n]); wrote != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", wrote, n, err)
			}
			rest = rest[n:]
		}
		if got, whole := kept.lastLine(); string(got) != want || !whole {
			t.Fatalf("got %q %v, want %q", got, whole, want)
		}
	})
}

func TestTailIsBounded(t *testing.T) {
	var kept tail
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 {
		kept.Write(chunk)
	}
	kept.Write([]byte("\n"))
	line, whole := kept.lastLine()
	if len(line) != maxLine || whole || cap(kept.line)+cap(kept.last) > 4*maxLine {
		t.Errorf("kept %d bytes, whole %v, room %d", len(line), whole, cap(kept.line)+cap(kept.last))
	}
	kept.Write([]byte("short\n"))
	if line, whole := kept.lastLine(); string(line) != "short" || !whole {
		t.Errorf("then %q %v", line, whole)
	}
}
