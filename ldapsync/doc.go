// Package ldapsync brings the people of an LDAP directory into the store. A
// server that is silent, cut off, or that suddenly shows less changes nobody:
// gains are written as they are read, losses wait until the answer is complete
// and the guard has judged them as a whole. DESIGN.md tells how, and what a
// crash at any point leaves behind. It belongs to the daemon and is no library
// for others.
package ldapsync
