package voicemail

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// How far a request has come.
const (
	queued  = iota // nothing of it has left
	writing        // some may have
	written
)

// openRequest waits for its answer.
type openRequest struct {
	attempt Attempt
	answer  chan Answer // gets one
	stage   int
}

// streamProcess is one life of a stream hook.
type streamProcess struct {
	hook    *streamHook
	started time.Time
	kill    context.CancelFunc
	in      *os.File
	gone    chan struct{} // closed when it has ended and was forgotten
	stderr  tail

	mu    sync.Mutex
	byID  map[string]*openRequest
	queue []*openRequest
	more  *sync.Cond // queue or dead changed
	dead  bool
}

// start starts the command. Its caller holds the hook's lock.
func (h *streamHook) start() (*streamProcess, error) {
	cmd := exec.Command(h.command[0], h.command[1:]...)
	if cmd.Err == nil {
		cmd.Dir = filepath.VolumeName(cmd.Path) + string(filepath.Separator)
	}
	cmd.Env, cmd.WaitDelay = h.env, pipesWait
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPipe, err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		in.Close()
		return nil, fmt.Errorf("%w: %w", errNoPipe, err)
	}
	p := &streamProcess{hook: h, started: time.Now(), in: in, gone: make(chan struct{}), byID: map[string]*openRequest{}}
	p.more = sync.NewCond(&p.mu)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &p.stderr
	running, err := h.launcher.start(cmd)
	stdin.Close()
	stdout.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	ctx, kill := context.WithCancel(context.Background())
	p.kill = kill
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.readAnswers(out)
		// Whoever has closed its output answers nobody any more.
		time.AfterFunc(pipesWait, kill)
	}()
	go p.write()
	go func() {
		end := running.wait(ctx)
		kill()
		select { // what it wrote before it died still counts
		case <-read:
		case <-time.After(pipesWait):
		}
		out.Close()
		<-read
		p.bury(end)
	}()
	return p, nil
}

// open queues a request, of which no attempt is under way. It is false where
// the process takes nothing any more.
func (p *streamProcess) open(o *openRequest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return false
	}
	p.byID[o.attempt.RequestID] = o
	p.queue = append(p.queue, o)
	p.more.Signal()
	return true
}

// giveUp ends the waiting for an answer at the timeout.
func (p *streamProcess) giveUp(o *openRequest) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case answer := <-o.answer: // at the last moment
		return answer
	default:
	}
	if p.byID[o.attempt.RequestID] == o {
		delete(p.byID, o.attempt.RequestID)
	}
	name := p.hook.command[0]
	switch o.stage {
	case queued:
		o.stage = written // nobody writes it any more
		return Answer{Class: NotSent, Message: name + ": it reads no more requests: nothing of this one was written within the timeout"}
	case writing:
		p.kill() // it does not read: the line would never end
		return Answer{Class: Lost, Message: name + ": it did not read the request within the timeout and was killed"}
	}
	return Answer{Class: Lost, Message: name + ": no answer within the timeout"}
}

// write writes what is queued, as much at once as there is.
func (p *streamProcess) write() {
	defer p.in.Close()
	w := bufio.NewWriterSize(p.in, 64<<10)
	for {
		batch := p.next()
		if batch == nil {
			return
		}
		for _, o := range batch {
			w.WriteString(o.attempt.Body.Reveal())
			w.WriteByte('\n')
		}
		if w.Flush() != nil {
			time.AfterFunc(pipesWait, p.kill) // if it has not ended anyway
			return
		}
		p.mu.Lock()
		for _, o := range batch {
			o.stage = written
		}
		p.mu.Unlock()
	}
}

// next waits for requests; nil when the process is to end.
func (p *streamProcess) next() []*openRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var batch []*openRequest
		for _, o := range p.queue {
			if o.stage == queued {
				o.stage = writing
				batch = append(batch, o)
			}
		}
		p.queue = p.queue[:0]
		if len(batch) > 0 {
			return batch
		}
		if p.dead {
			return nil
		}
		p.more.Wait()
	}
}

// readAnswers reads a line after the other, and passes over what is longer than
// an answer may be.
func (p *streamProcess) readAnswers(out io.Reader) {
	r := bufio.NewReaderSize(out, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			p.hook.log.Warn("the stream hook wrote a line longer than 64 KiB, which is no answer")
			line = nil
		}
		if len(bytes.TrimSpace(line)) > 0 {
			p.answer(line)
		}
		if err != nil {
			return
		}
	}
}

// answer gives a line to the request that it answers. A line is never logged:
// whose PIN it repeats is not known.
func (p *streamProcess) answer(line []byte) {
	id := idOf(line)
	if id == "" {
		p.hook.log.Warn("the stream hook wrote a line that answers no request", "bytes", len(line))
		return
	}
	said, err := readReply(line, id)
	p.mu.Lock()
	o := p.byID[id]
	if o != nil && o.stage == queued {
		o = nil // it answers what it cannot have read
	}
	if o == nil {
		p.mu.Unlock()
		if err == nil && said.result == Accepted {
			p.hook.keepLate(id)
		}
		p.hook.log.Warn("the stream hook answered a request that nobody waits for: too late, twice, or unknown", "request_id", shorten(oneLine(id), 64), "result", string(said.result))
		return
	}
	delete(p.byID, id)
	o.answer <- judgeLine(p.hook.command[0], said, err, newMask(o.attempt.pin))
	p.mu.Unlock()
}

// idOf returns the id of the request that a line answers; "" for no answer.
func idOf(line []byte) string {
	var a struct {
		RequestID string `json:"request_id"`
	}
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte(byteOrderMark)))
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &a) != nil {
		return ""
	}
	return strings.ToLower(a.RequestID)
}

func judgeLine(command string, said reply, err error, m mask) Answer {
	sentence := func(how string) string {
		return strings.TrimSuffix(command+": "+how, ": ")
	}
	switch {
	case err != nil:
		return Answer{Class: Lost, Message: sentence(err.Error())}
	case said.result == "":
		return Answer{Class: Lost, Message: sentence("its answer says no result")}
	}
	a := said.answer()
	a.Message = sentence(m.words(said.message))
	if a.Result == Accepted {
		a.Message = ""
	}
	return a
}

// end lets the process end by itself, for a while.
func (p *streamProcess) end() {
	p.mu.Lock()
	p.dead = true
	p.more.Broadcast()
	p.mu.Unlock()
	select {
	case <-p.gone:
	case <-time.After(dyingTime):
		p.kill()
		<-p.gone
	}
}

// bury ends what was open when the process died: lost, if it may have been read.
func (p *streamProcess) bury(end exit) {
	p.mu.Lock()
	how := fmt.Sprintf("exit %d", end.code)
	switch {
	case end.stuck:
		how = "it was killed and cannot end"
	case end.killed:
		how = "it was killed"
	case end.signaled:
		how = "it was killed by a signal"
	}
	var masks masks
	for _, o := range p.byID {
		masks = append(masks, newMask(o.attempt.pin))
	}
	line, _ := p.stderr.lastLine()
	if words := masks.words(noDigits(string(line))); words != "" {
		how += ": " + words
	}
	p.dead = true
	p.more.Broadcast()
	open := p.byID
	p.byID = map[string]*openRequest{}
	p.mu.Unlock()
	p.in.Close() // whoever else holds the other end does not hold up the writer
	p.hook.ended(p, how)
	denied := !end.killed && !end.signaled && (end.code == 77 || end.code == 126 || end.code == 127)
	p.mu.Lock()
	for _, o := range open {
		a := Answer{Class: Lost, Message: p.hook.command[0] + ": it died with the request in hand: " + how}
		if o.stage == queued {
			a = Answer{Class: NotSent, Message: p.hook.command[0] + ": it died before the request was written: " + how}
		}
		if denied {
			a.Result = Denied
		}
		o.stage = written
		o.answer <- a
	}
	p.mu.Unlock()
	close(p.gone)
}

// noDigits makes the last words of a process fit to be shown: they may repeat
// the PIN of a request that was answered long ago.
func noDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, text)
}
