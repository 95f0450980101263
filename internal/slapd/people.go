package slapd

import (
	"fmt"
	"io"
	"strings"
)

// Person is somebody made up; the same number is always the same person.
type Person struct {
	UID, FirstName, Initials, LastName string
	Mail, Telephone, Department        string
	Manager                            int // number of the manager; 0 for none
}

var (
	firstNames = strings.Fields("Anna Bert Carla Dirk Els Frank Gerda Hans Ilse Jan Karin Luc Mia Nico Olga Paul Rosa Sven Tina Umut Zoë Jörg Søren Łukasz Renée")
	lastNames  = strings.Split("Janssens Peeters Maes Jacobs Mertens Willems Claes Goossens Wouters De_Smet Dubois Lambert Dupont Martin Simon Lemmens Aerts Müller O'Brien Straßer Van_den_Berg Nuñez Ågren", " ")
)

// Somebody returns the person of that number, from 1 on.
func Somebody(n int) Person {
	p := Person{
		UID:        fmt.Sprintf("u%06d", n),
		FirstName:  firstNames[n*7%len(firstNames)],
		LastName:   strings.ReplaceAll(lastNames[(n*13+n/20)%len(lastNames)], "_", " "),
		Telephone:  fmt.Sprintf("+32 2 555 %04d", n%10000),
		Department: fmt.Sprint(10 + n%15),
	}
	p.Initials = string([]rune(p.FirstName)[:1]) + string([]rune(p.LastName)[:1])
	p.Mail = p.UID + "@example.org"
	if n > 1 {
		p.Manager = (n-2)/10 + 1
	}
	return p
}

// WritePeople writes LDIF of the persons from first to last, below ou=people.
func (s *Server) WritePeople(w io.Writer, first, last int) error {
	for n := first; n <= last; n++ {
		p := Somebody(n)
		_, err := fmt.Fprintf(w, "dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s %s\nsn: %s\ngivenName: %s\ninitials: %s\nmail: %s\ntelephoneNumber: %s\ndepartmentNumber: %s\n",
			p.UID, s.People(), p.UID, p.FirstName, p.LastName, p.LastName, p.FirstName, p.Initials, p.Mail, p.Telephone, p.Department)
		if err == nil && p.Manager > 0 {
			_, err = fmt.Fprintf(w, "manager: uid=%s,%s\n", Somebody(p.Manager).UID, s.People())
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// LoadPeople adds the persons from first to last to a server that is stopped.
func (s *Server) LoadPeople(first, last int) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.WritePeople(w, first, last)) }()
	defer r.Close()
	return s.Load(r)
}
