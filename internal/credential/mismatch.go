package credential

import "strings"

// MismatchError says that a database and a key ring do not belong together.
type MismatchError struct {
	Missing   []string // ids that the database names and the ring lacks
	Different []string // ids that both have, with another key behind
	Have      []string // ids of the ring
}

// Error names the keys that the database wants, and what to do.
func (e *MismatchError) Error() string {
	var b strings.Builder
	b.WriteString("the key ring does not belong to this database: ")
	if e.Missing != nil {
		b.WriteString("the database wants " + keyList(e.Missing) + ", the ring has " + keyList(e.Have))
	}
	if e.Different != nil {
		if e.Missing != nil {
			b.WriteString("; ")
		}
		b.WriteString(keyList(e.Different) + " of the ring is not the key that the database means")
	}
	b.WriteString(": put back the key file that was in use when the database was written (key_file)")
	return b.String()
}

func keyList(ids []string) string {
	switch len(ids) {
	case 0:
		return "none"
	case 1:
		return "key " + ids[0]
	}
	return "keys " + strings.Join(ids, ", ")
}
