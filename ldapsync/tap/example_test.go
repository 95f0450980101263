package tap_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/ldapsync/tap"
)

// Reading everyone who has a mailbox, over LDAPS: go-ldap binds and pages, the
// handler sees the entries.
func ExampleDial() {
	ctx := context.Background()
	c, err := tap.Dial(ctx, "tcp", "ldap.example.com:636", tap.Options{TLS: &tls.Config{ServerName: "ldap.example.com"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind("cn=reader,dc=example,dc=com", "secret"); err != nil {
		log.Fatal(err)
	}
	paging := ldap.NewControlPaging(1000)
	r := ldap.NewSearchRequest("dc=example,dc=com", ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(mail=*)", []string{"uid", "mail"}, []ldap.Control{paging})
	for more := true; more; {
		page, err := c.Stream(ctx, r, tap.Handler{Entry: func(e *tap.Entry) error {
			fmt.Printf("%s %s\n", e.Value("uid"), e.Value("mail"))
			return nil
		}})
		if err != nil {
			log.Fatal(err)
		}
		answer, ok := ldap.FindControl(page.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		more = ok && len(answer.Cookie) > 0
		if more {
			paging.SetCookie(answer.Cookie)
		}
	}
}

// The fast lane under a socket that is there already. The server has two
// people.
func Example() {
	ctx := context.Background()
	c, err := tap.Open(ctx, tap.TwoPeople(), tap.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := tap.NewClient(c)
	defer client.Close()
	r := ldap.NewSearchRequest("dc=example,dc=com", ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, "(uid=*)", []string{"mail"}, nil)
	result, err := client.Stream(ctx, r, tap.Handler{Entry: func(e *tap.Entry) error {
		fmt.Printf("%s %s\n", e.DN, e.Value("mail"))
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Entries, "entries")
	// Output:
	// uid=anna,dc=example,dc=com anna@example.com
	// uid=bert,dc=example,dc=com bert@example.com
	// 2 entries
}
