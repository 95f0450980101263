package tap

import "math"

// Tags of BER (X.690) and of LDAP's operations (RFC 4511, section 4.2).
const (
	tagBoolean     = 0x01
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagEnumerated  = 0x0a
	tagSequence    = 0x30
	tagSet         = 0x31
	tagControls    = 0xa0

	opUnbind       = 0x42
	opSearch       = 0x63
	opEntry        = 0x64
	opDone         = 0x65
	opReference    = 0x73
	opExtended     = 0x78
	opIntermediate = 0x79
	opAbandon      = 0x50
)

// maxLength is larger than any bound that is configured, and fits an int
// everywhere.
const maxLength = math.MaxInt32 / 2

// length reads a definite length, the only form that LDAP permits (RFC 4511,
// section 5.1), from behind a tag. Lengths may be padded: Active Directory
// always uses four bytes. n is how many bytes it takes; 0 if b is too short.
func length(b []byte) (n, size int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	if b[0] < 0x80 {
		return 1, int(b[0]), nil
	}
	n = int(b[0] & 0x7f)
	switch {
	case n == 0:
		return 0, 0, malformed("an indefinite length, which LDAP does not permit")
	case n > 8:
		return 0, 0, malformed("a length of %d bytes", n)
	case len(b) <= n:
		return 0, 0, nil
	}
	for _, x := range b[1 : 1+n] {
		if size > maxLength>>8 {
			return 0, 0, tooLarge("a length of more than %d", maxLength)
		}
		size = size<<8 | int(x)
	}
	return 1 + n, size, nil
}

// frame is the envelope of a message.
type frame struct {
	size int   // of the whole message
	id   int64 // 0: unsolicited
	op   byte  // tag of the operation
	from int   // where the operation begins
}

// peek reads the envelope of the message that b begins with. Its size is 0 if
// b is too short to tell.
func peek(b []byte) (frame, error) {
	var none frame
	if len(b) == 0 {
		return none, nil
	}
	if b[0] != tagSequence {
		return none, malformed("no LDAP message begins with the byte %#02x", b[0])
	}
	n, size, err := length(b[1:])
	if n == 0 {
		return none, err
	}
	f := frame{size: 1 + n + size}
	f.from = 1 + n
	b = b[f.from:]
	if size < 5 { // an id and an operation take no less
		return none, malformed("a message of %d bytes", size)
	}
	if len(b) == 0 {
		return none, nil
	}
	n, idSize, err := length(b[1:])
	if b[0] != tagInteger || err != nil || n > 0 && (idSize == 0 || idSize > 8 || 1+n+idSize >= size) {
		return none, malformed("a message without a message id")
	}
	from := 1 + n
	if n == 0 || len(b) <= from+idSize {
		return none, nil
	}
	id, ok := integer(b[from : from+idSize])
	if !ok || id < 0 || id > math.MaxInt32 {
		return none, malformed("a message id that is out of range")
	}
	f.id, f.op, f.from = id, b[from+idSize], f.from+from+idSize
	return f, nil
}

// integer reads the content of an INTEGER or ENUMERATED.
func integer(b []byte) (v int64, ok bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	v = int64(int8(b[0]))
	for _, x := range b[1:] {
		v = v<<8 | int64(x)
	}
	return v, true
}

// der is a run of BER elements.
type der []byte

// next removes the first element, which must have that tag, and returns its
// content.
func (d *der) next(tag byte) (der, error) {
	b := *d
	if len(b) < 2 {
		return nil, malformed("an element is missing where one of tag %#02x belongs", tag)
	}
	if b[0] != tag {
		return nil, malformed("an element of tag %#02x where one of %#02x belongs", b[0], tag)
	}
	from, size := 2, int(b[1])
	if size >= 0x80 {
		n, s, err := length(b[1:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, malformed("the end of the message in the middle of a length")
		}
		from, size = 1+n, s
	}
	if size > len(b)-from {
		return nil, malformed("a length of %d where %d bytes are left", size, len(b)-from)
	}
	*d = b[from+size:]
	return b[from : from+size : from+size], nil
}

// has tells whether the first element has that tag.
func (d der) has(tag byte) bool { return len(d) > 0 && d[0] == tag }

// maxDepth bounds how deep elements may lie in each other. LDAP needs ten.
const maxDepth = 32

// walk checks that b holds whole elements of definite length, within bounds of
// depth and number. Elements that are constructed are entered, as decoders do
// that build a tree.
func walk(b []byte, elements int) error {
	var ends [maxDepth]int
	depth, at := 0, 0
	ends[0] = len(b)
	for n := 1; ; n++ {
		for at == ends[depth] {
			if depth == 0 {
				return nil
			}
			depth--
		}
		if n > elements {
			return tooLarge("a message of more than %d elements", elements)
		}
		rest := b[at:ends[depth]]
		if rest[0]&0x1f == 0x1f {
			return malformed("an element of tag %#02x, which LDAP does not have", rest[0])
		}
		k, size, err := length(rest[1:])
		if err != nil {
			return err
		}
		if k == 0 || size > len(rest)-1-k {
			return malformed("an element of %d bytes where %d are left", size, len(rest)-1-k)
		}
		if rest[0]&0x20 == 0 {
			at += 1 + k + size
			continue
		}
		if depth+1 == maxDepth {
			return tooLarge("elements that lie %d deep in each other", maxDepth)
		}
		depth++
		at += 1 + k
		ends[depth] = at + size
	}
}
