package fakeunity

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

const timeFormat = "2006-01-02 15:04:05.000"

func (s *Server) read(id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byID[id]
	if m == nil {
		return failure(http.StatusNotFound, "NOT_FOUND", "User not found")
	}
	return answer{status: http.StatusOK, name: "Credential", objects: []object{{
		{"URI", "/vmrest/users/" + id + "/credential/pin"}, {"UserObjectId", id}, {"CredentialType", "4"}, {"Credentials", ""},
		{"CantChange", fmt.Sprint(m.CantChange)}, {"DoesntExpire", fmt.Sprint(m.DoesntExpire)}, {"TimeChanged", m.TimeChanged.UTC().Format(timeFormat)},
		{"HackCount", fmt.Sprint(m.HackCount)}, {"Locked", fmt.Sprint(m.Locked)}, {"Alias", m.Alias}, {"CredMustChange", fmt.Sprint(m.MustChange)},
		{"CredentialPolicyObjectId", m.Rule}, {"Hacked", "false"}, {"EncryptionType", "4"},
	}}}
}

// put changes a PIN and what goes with it: all of it, or nothing.
func (s *Server) put(id string, r *http.Request) answer {
	fields, err := credentialOf(r)
	if err != nil {
		return s.violated(r, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byID[id]
	if m == nil {
		return failure(http.StatusBadRequest, "DATA_EXCEPTION", "User not found")
	}
	if pin, ok := fields["Credentials"]; ok {
		if why := s.refuses(m, pin); why != "" {
			// Silent: how a refused PIN is answered. The words are those that
			// were seen elsewhere in the product.
			return failure(http.StatusBadRequest, "DATA_EXCEPTION", why)
		}
		m.set(pin, s.tick())
		m.MustChange = true // the guide's default
	}
	for name, to := range map[string]*bool{"CredMustChange": &m.MustChange, "CantChange": &m.CantChange, "DoesntExpire": &m.DoesntExpire, "Locked": &m.Locked} {
		if v, ok := fields[name]; ok {
			*to = v == "true"
		}
	}
	if _, ok := fields["HackCount"]; ok {
		m.HackCount = 0
	}
	return answer{status: http.StatusNoContent}
}

// refuses applies the mailbox's authentication rule.
func (s *Server) refuses(m *Mailbox, pin string) string {
	var rule Rule
	for _, r := range s.Rules {
		if r.ObjectID == m.Rule {
			rule = r
		}
	}
	switch {
	case strings.Trim(pin, "0123456789") != "":
		return "Invalid credential: a PIN has digits alone"
	case len(pin) < rule.MinLength:
		return "Invalid credential length"
	case rule.NoTrivial && trivial(pin):
		return "Trivial credential"
	case rule.PrevCount > 0 && (pin == m.PIN || contains(m.History, pin, rule.PrevCount-1)):
		return "Repeat credentials prohibited by credential policy"
	case s.OpenDuration && s.clock.Sub(m.TimeChanged) < time.Duration(rule.MinMinutes)*time.Minute && m.Changes > 0:
		return "Credential was changed too recently"
	}
	return ""
}

func contains(history []string, pin string, most int) bool {
	for i, h := range history {
		if i < most && h == pin {
			return true
		}
	}
	return false
}

// trivial is a part of the product's list: one digit thrice, and runs.
func trivial(pin string) bool {
	up, down := true, true
	for i := 1; i < len(pin); i++ {
		up, down = up && pin[i] == pin[i-1]+1, down && pin[i] == pin[i-1]-1
		if i > 1 && pin[i] == pin[i-1] && pin[i] == pin[i-2] {
			return true
		}
	}
	return up || down
}

// writable are the fields that a PUT may have, and whether they are flags.
var writable = map[string]bool{"Credentials": false, "CredMustChange": true, "CantChange": true, "DoesntExpire": true, "Locked": true,
	"HackCount": false, "TimeHacked": false, "CredentialPolicyObjectId": false}

// credentialOf reads the body of a PUT. A field that the guide does not have is
// an error here; real servers pass over it.
func credentialOf(r *http.Request) (map[string]string, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	fields := map[string]string{}
	switch kind {
	case "application/json":
		var raw map[string]any
		if err := json.Unmarshal(data, &raw); err != nil {
			return nil, errors.New("the body is no JSON")
		}
		for name, v := range raw {
			fields[name] = fmt.Sprint(v)
		}
	case "application/xml":
		var c struct {
			Fields []struct {
				XMLName xml.Name
				Text    string `xml:",chardata"`
			} `xml:",any"`
		}
		if err := xml.Unmarshal(data, &c); err != nil {
			return nil, errors.New("the body is no XML")
		}
		for _, f := range c.Fields {
			fields[f.XMLName.Local] = f.Text
		}
	default:
		return nil, fmt.Errorf("Content-Type is %q, and must be application/json or application/xml", kind)
	}
	for name, v := range fields {
		flag, known := writable[name]
		if !known {
			return nil, fmt.Errorf("a credential has no writable field %s", name)
		}
		if flag && v != "true" && v != "false" {
			return nil, fmt.Errorf("%s is true or false", name)
		}
	}
	if v, ok := fields["HackCount"]; ok && v != "0" {
		return nil, errors.New("HackCount can only be set to 0")
	}
	return fields, nil
}
