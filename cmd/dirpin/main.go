// Command dirpin keeps a local copy of an organisation's LDAP users and resets
// their passwords and PINs in bulk.
package main

var version = "devel"

func main() { println("dirpin", version) }
