// Package user holds the words that everyone in dirpin shares: a User, its
// Status, and the Query that selects users. It defines, once, how text is
// folded and what every operator means; the store's SQL is tested to agree
// with it. It imports nothing of dirpin's.
package user
