package voicemail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// reply is what a hook's JSON says.
type reply struct {
	result  Result
	reason  string
	message string
}

// byteOrderMark is what PowerShell writes before its output.
const byteOrderMark = "\xef\xbb\xbf"

var (
	errForeign = errors.New("its answer has the request_id of another request")
	errGarbled = errors.New("its answer is no complete JSON object")
)

// readReply reads data as the answer to the request. It returns an empty result
// where data is none: text, or an object that says no result. Keys are
// compared without case, since a `Result` that is overlooked would turn a
// rejection into an acceptance.
func readReply(data []byte, requestID string) (reply, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte(byteOrderMark)))
	if len(data) == 0 || data[0] != '{' {
		return reply{}, nil
	}
	if !json.Valid(data) {
		return reply{}, errGarbled
	}
	said, err := replyFields(data)
	if err != nil {
		return reply{}, err
	}
	if id, ok := said["request_id"]; ok && string(id) != "null" && !strings.EqualFold(text(id), requestID) {
		return reply{}, errForeign
	}
	r := reply{reason: strings.ToLower(text(said["reason"])), message: text(said["message"])}
	if r.reason != InHistory && r.reason != "" {
		r.message = strings.Trim(text(said["reason"])+": "+r.message, ": ")
		r.reason = ""
	}
	if v, ok := said["result"]; ok && string(v) != "null" {
		r.result = Result(strings.ToLower(text(v)))
		switch r.result {
		case Accepted, Rejected, NoMailbox, Retry, Denied:
		default:
			return reply{}, fmt.Errorf("its answer's result is none of %s, %s, %s, %s and %s", Accepted, Rejected, NoMailbox, Retry, Denied)
		}
	}
	return r, nil
}

// replyFields returns the known fields of an object, and an error where one is
// there twice: which of the two would count is anybody's guess.
func replyFields(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return nil, errGarbled
	}
	said := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errGarbled
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errGarbled
		}
		switch name := strings.ToLower(key.(string)); name {
		case "request_id", "result", "reason", "message":
			if _, twice := said[name]; twice {
				return nil, fmt.Errorf("its answer says %s twice", name)
			}
			said[name] = value
		}
	}
	return said, nil
}

// text returns the string that raw encodes, "" where it is anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// answer makes an answer of a result that the hook said by itself.
func (r reply) answer() Answer {
	a := Answer{Class: Answered, Result: r.result}
	switch r.result {
	case Retry:
		a.Class = NotSent
	case Rejected:
		a.Reason = r.reason
	}
	return a
}
