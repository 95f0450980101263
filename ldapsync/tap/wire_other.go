//go:build !linux

package tap

// read reads from the socket.
func (c *wire) read(p []byte) (int, error) { return c.Conn.Read(p) }
