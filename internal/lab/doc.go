// Package lab gives tests real servers to work against. A server is started
// when a test first asks for it and lives as long as the test process. What is
// missing on the machine fails the test and says how to install it; nothing is
// skipped. Only tests import it.
package lab
