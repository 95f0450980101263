// Package lab gives tests real servers to work against: OpenLDAP, 389
// Directory Server, Samba's Active Directory and PostgreSQL. A server is started when a
// test first asks for it, in a second or less, is shared by the tests of the
// process, each of which has a place of its own in it, and dies with the
// process, however that ends. Only a Samba domain takes some seconds to make:
// that is done once on a machine and kept below the temporary folder.
//
// What is missing on the machine fails the test and says how to install it;
// nothing is skipped. Only tests import it.
package lab
