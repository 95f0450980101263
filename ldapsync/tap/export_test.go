package tap

import (
	"bytes"
	"net"
)

// TwoPeople is a connection to a server that answers the first search.
func TwoPeople() net.Conn {
	return server(bytes.Join([][]byte{
		short.entry(1, "uid=anna,dc=example,dc=com", short.attribute("mail", "anna@example.com")),
		short.entry(1, "uid=bert,dc=example,dc=com", short.attribute("mail", "bert@example.com")),
		short.done(1, 0),
	}, nil), 1000)
}
