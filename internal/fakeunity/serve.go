package fakeunity

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Request is what a Fault may depend on.
type Request struct {
	Kind  string // search, read, put, rules, check, other
	Alias string // of the mailbox, or of the search
	N     int    // of this kind, from 1
}

// Fault is what goes wrong with a request. The zero value is nothing.
type Fault struct {
	Delay       time.Duration
	LoseRequest bool // the connection breaks before anything was done
	LoseAnswer  bool // and after
	Cut         bool // within the answer
	Status      int  // answered without anything being done
	RetryAfter  string
	Body        string // of Status
	Done        bool   // Status is answered although it was done
	Login       bool   // 200 and the page of a login
	Redirect    bool   // to the page of single sign-on
}

// ServeHTTP serves CUPI below /vmrest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	q, reply := s.route(r)
	s.mu.Lock()
	s.requests[q.Kind]++
	q.N = s.requests[q.Kind]
	s.mu.Unlock()
	var f Fault
	if s.Fault != nil {
		f = s.Fault(q)
	}
	if wait := s.Delay + f.Delay; wait > 0 && !waitUntil(r.Context(), began.Add(wait)) {
		return
	}
	switch {
	case f.LoseRequest:
		panic(http.ErrAbortHandler)
	case f.Redirect:
		w.Header().Set("Location", "https://sso.example.com/login?for=vmrest")
		w.WriteHeader(http.StatusFound)
		return
	case f.Login:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><html><body><form>Sign in</form></body></html>")
		return
	case f.Status != 0 && !f.Done:
		s.broke(w, f)
		return
	}
	if !s.allowed(w, r) {
		return
	}
	a := reply(r)
	switch {
	case f.LoseAnswer:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		s.broke(w, f)
	default:
		a.write(w, s.XMLOnly || !wantsJSON(r), f.Cut)
	}
}

func (s *Server) broke(w http.ResponseWriter, f Fault) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	w.WriteHeader(f.Status)
	fmt.Fprint(w, f.Body)
}

// allowed asks for the account, and locks it after three wrong passwords, as
// the default rule does.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	right := ok && user == s.User && password == s.Password && s.failures < 3
	if !right {
		s.failures++
		w.Header().Set("WWW-Authenticate", `Basic realm="Cisco Unity Connection"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	s.failures = 0
	if _, err := r.Cookie("JSESSIONID"); err != nil {
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONIDSSO", Value: newID(), Path: "/", Secure: true})
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: newID(), Path: "/vmrest/", Secure: true})
		http.SetCookie(w, &http.Cookie{Name: "REQUEST_TOKEN_KEY", Value: newID(), Path: "/vmrest/"})
	}
	return true
}

// route finds out what is asked for.
func (s *Server) route(r *http.Request) (Request, func(*http.Request) answer) {
	path := strings.TrimPrefix(r.URL.Path, "/vmrest/")
	parts := strings.Split(path, "/")
	get, put := r.Method == http.MethodGet, r.Method == http.MethodPut
	switch {
	case path == r.URL.Path:
	case get && path == "users" && strings.Contains(r.URL.RawQuery, "query="):
		return Request{Kind: "search", Alias: searched(r)}, s.search
	case get && path == "users":
		return Request{Kind: "check"}, s.count
	case len(parts) == 4 && parts[0] == "users" && parts[2] == "credential" && parts[3] == "pin":
		q := Request{Kind: "read", Alias: s.aliasOf(parts[1])}
		if put {
			q.Kind = "put"
			return q, func(r *http.Request) answer { return s.put(parts[1], r) }
		}
		if get {
			return q, func(*http.Request) answer { return s.read(parts[1]) }
		}
	case get && path == "authenticationrules":
		return Request{Kind: "rules"}, func(*http.Request) answer { return s.rules() }
	case get && path == "phonesystems":
		return Request{Kind: "other"}, func(*http.Request) answer {
			return answer{status: 200, list: "PhoneSystems", name: "PhoneSystem", objects: []object{{{"ObjectId", phoneSystem}, {"DisplayName", "PhoneSystem"}}}}
		}
	case get && path == "phonesystems/"+phoneSystem+"/axlservers":
		return Request{Kind: "other"}, func(*http.Request) answer {
			return answer{status: 200, list: "AXLServers", name: "AXLServer", objects: []object{{{"HostOrIPAddress", "cucm.example.com"}, {"IsPinSyncEnabled", fmt.Sprint(s.PINSync)}}}}
		}
	}
	return Request{Kind: "other"}, func(r *http.Request) answer {
		return failure(http.StatusNotFound, "NOT_FOUND", "Not found: "+r.Method+" "+r.URL.Path)
	}
}

const phoneSystem = "aa6d3f45-ccdf-4fa2-8170-e5c94b51813a"

func (s *Server) aliasOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.byID[id]; m != nil {
		return m.Alias
	}
	return ""
}

// searched is the value of a search, for faults.
func searched(r *http.Request) string {
	_, value, _ := criterion(r.URL.RawQuery)
	return value
}

// criterion reads query=(column operator value): one only, with %20 between.
func criterion(raw string) (column, value, fault string) {
	raw, found := strings.CutPrefix(raw, "query=")
	if !found || strings.Contains(raw, "&") {
		return "", "", "a search takes one query and nothing else here"
	}
	if strings.Contains(raw, "+") {
		return "", "", "a space is %20; a + is a plus sign"
	}
	text, err := url.PathUnescape(raw)
	if err != nil || !strings.HasPrefix(text, "(") || !strings.HasSuffix(text, ")") {
		return "", "", "a query is (column operator value)"
	}
	words := strings.SplitN(text[1:len(text)-1], " ", 3)
	if len(words) != 3 || words[2] == "" {
		return "", "", "a query is (column operator value)"
	}
	if words[1] != "is" && words[1] != "startswith" {
		return "", "", "an operator is `is` or `startswith`"
	}
	return strings.ToLower(words[0]), words[2], ""
}

func (s *Server) search(r *http.Request) answer {
	column, value, fault := criterion(r.URL.RawQuery)
	if fault != "" {
		return s.violated(r, fault)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	starts := strings.Contains(r.URL.RawQuery, "%20startswith%20")
	var found []object
	add := func(m *Mailbox) {
		found = append(found, object{{"URI", "/vmrest/users/" + m.ObjectID}, {"ObjectId", m.ObjectID}, {"Alias", m.Alias}, {"DtmfAccessId", m.Extension}})
	}
	if column == "alias" && !starts {
		// Silent: whether case counts in an alias. It is assumed not to.
		if m := s.byAlias[strings.ToLower(value)]; m != nil {
			add(m)
		}
		return answer{status: http.StatusOK, list: "Users", name: "User", objects: found}
	}
	for _, m := range s.byID {
		var have string
		switch column {
		case "alias":
			have = m.Alias
		case "objectid":
			have = m.ObjectID
		case "dtmfaccessid":
			have = m.Extension
		default:
			return failure(http.StatusBadRequest, "INVALID_PARAMETER", "Invalid column: "+column) // silent: code and words
		}
		if strings.EqualFold(have, value) || starts && len(have) >= len(value) && strings.EqualFold(have[:len(value)], value) {
			add(m)
		}
	}
	return answer{status: http.StatusOK, list: "Users", name: "User", objects: found}
}

// count answers rowsPerPage=0: how many users there are and nobody of them.
func (s *Server) count(r *http.Request) answer {
	if r.URL.RawQuery != "rowsPerPage=0" {
		return s.violated(r, "this fake lists nobody: rowsPerPage=0 counts")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return answer{status: http.StatusOK, list: "Users", name: "User", total: len(s.byID)}
}

func (s *Server) rules() answer {
	a := answer{status: http.StatusOK, list: "AuthenticationRules", name: "AuthenticationRule"}
	for _, r := range s.Rules {
		a.objects = append(a.objects, object{{"ObjectId", r.ObjectID}, {"DisplayName", r.Name}, {"MinLength", fmt.Sprint(r.MinLength)},
			{"TrivialCredChecking", fmt.Sprint(r.NoTrivial)}, {"PrevCredCount", fmt.Sprint(r.PrevCount)}, {"MinDuration", fmt.Sprint(r.MinMinutes)},
			{"MaxDays", fmt.Sprint(r.MaxDays)}, {"MaxHacks", "3"}, {"MinCharsToChange", "1"}})
	}
	return a
}

// violated notes what no client may send, and refuses it.
func (s *Server) violated(r *http.Request, what string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, r.Method+" "+r.URL.RequestURI()+": "+what)
	return failure(http.StatusBadRequest, "INVALID_PARAMETER", what) // silent: code and words
}
