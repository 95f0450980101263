package tap

// Object identifiers of content synchronization (RFC 4533, section 2).
const (
	OIDSyncState = "1.3.6.1.4.1.4203.1.9.1.2" // control of an entry
	OIDSyncDone  = "1.3.6.1.4.1.4203.1.9.1.3" // control of the result
	OIDSyncInfo  = "1.3.6.1.4.1.4203.1.9.1.4" // intermediate response
)

// Intermediate is an intermediate response (RFC 4511, section 4.13), valid
// until the handler returns.
type Intermediate struct {
	MessageID int64 // of the search that it belongs to
	Name      []byte
	Value     []byte
	Controls  []Control
}

// Done is the result with which a search ends, valid until the handler
// returns. It passes on to the library as well.
type Done struct {
	MessageID int64
	Code      int // of RFC 4511, appendix A; 0 is success
	MatchedDN []byte
	Message   []byte
	Controls  []Control
}

// State is what a synchronization says of an entry (RFC 4533, section 2.2).
type State int

// The states.
const (
	Present State = iota
	Add
	Modify
	Delete
)

// SyncState is the sync state control of an entry.
type SyncState struct {
	State  State
	UUID   [16]byte
	Cookie []byte // nil where there is none
}

// SyncState returns the entry's sync state; ok is false where it has none.
func (e *Entry) SyncState() (s SyncState, ok bool, err error) {
	value, ok := control(e.Controls, OIDSyncState)
	if !ok {
		return s, false, nil
	}
	d := der(value)
	seq, err := d.next(tagSequence)
	if err != nil {
		return s, false, err
	}
	state, err := seq.next(tagEnumerated)
	if err != nil {
		return s, false, err
	}
	uuid, err := seq.next(tagOctetString)
	if err != nil {
		return s, false, err
	}
	n, ok := integer(state)
	if !ok || n < int64(Present) || n > int64(Delete) || len(uuid) != len(s.UUID) {
		return s, false, malformed("a sync state of state %x with an id of %d bytes", state, len(uuid))
	}
	s.State, s.UUID = State(n), [16]byte(uuid)
	if len(seq) > 0 {
		if s.Cookie, err = seq.next(tagOctetString); err != nil {
			return s, false, err
		}
	}
	return s, true, nil
}

// InfoKind is a kind of sync info message.
type InfoKind int

// The kinds of sync info messages (RFC 4533, section 2.5).
const (
	NewCookie InfoKind = iota
	RefreshDelete
	RefreshPresent
	IDSet
)

// SyncInfo is a sync info message.
type SyncInfo struct {
	Kind    InfoKind
	Cookie  []byte     // nil where there is none
	Done    bool       // RefreshDelete, RefreshPresent: the refresh stage is complete
	Deletes bool       // IDSet: these entries are gone; else they are still there
	UUIDs   [][16]byte // IDSet; the receiver's to keep
}

// SyncInfo reads the message; ok is false where it is another one.
func (m *Intermediate) SyncInfo() (s SyncInfo, ok bool, err error) {
	if string(m.Name) != OIDSyncInfo {
		return s, false, nil
	}
	d := der(m.Value)
	if len(d) == 0 {
		return s, false, malformed("an empty sync info message")
	}
	s.Kind = InfoKind(d[0] & 0x1f)
	switch tag := d[0]; tag {
	case 0x80:
		s.Cookie, err = d.next(tag)
	case 0xa1, 0xa2:
		s.Done = true // its default
		var seq der
		if seq, err = d.next(tag); err == nil {
			err = cookieAndFlag(&seq, &s.Cookie, &s.Done)
		}
	case 0xa3:
		var seq der
		if seq, err = d.next(tag); err == nil {
			if err = cookieAndFlag(&seq, &s.Cookie, &s.Deletes); err == nil {
				s.UUIDs, err = uuids(&seq)
			}
		}
	default:
		err = malformed("a sync info message of tag %#02x", tag)
	}
	return s, err == nil, err
}

// cookieAndFlag reads two optional elements.
func cookieAndFlag(seq *der, cookie *[]byte, flag *bool) error {
	if seq.has(tagOctetString) {
		c, err := seq.next(tagOctetString)
		if err != nil {
			return err
		}
		*cookie = c
	}
	if seq.has(tagBoolean) {
		b, err := seq.next(tagBoolean)
		if err != nil || len(b) != 1 {
			return malformed("a boolean of %d bytes", len(b))
		}
		*flag = b[0] != 0
	}
	return nil
}

func uuids(seq *der) ([][16]byte, error) {
	set, err := seq.next(tagSet)
	if err != nil {
		return nil, err
	}
	list := make([][16]byte, 0, len(set)/18) // 16 bytes, tag and length
	for len(set) > 0 {
		id, err := set.next(tagOctetString)
		if err != nil {
			return nil, err
		}
		if len(id) != 16 {
			return nil, malformed("a sync id of %d bytes", len(id))
		}
		list = append(list, [16]byte(id))
	}
	return list, nil
}

// SyncDone is the sync done control of a result.
type SyncDone struct {
	Cookie  []byte // nil where there is none
	Deletes bool   // refreshDeletes: entries that were not mentioned are still there
}

// SyncDone returns the result's sync done control; ok is false where it has
// none.
func (d *Done) SyncDone() (s SyncDone, ok bool, err error) {
	value, ok := control(d.Controls, OIDSyncDone)
	if !ok {
		return s, false, nil
	}
	b := der(value)
	seq, err := b.next(tagSequence)
	if err == nil {
		err = cookieAndFlag(&seq, &s.Cookie, &s.Deletes)
	}
	return s, err == nil, err
}

func decodeIntermediate(msg []byte, f frame, most int) (*Intermediate, error) {
	rest := der(msg[f.from:])
	op, err := rest.next(opIntermediate)
	if err != nil {
		return nil, err
	}
	m := &Intermediate{MessageID: f.id}
	if op.has(0x80) {
		if m.Name, err = op.next(0x80); err != nil {
			return nil, err
		}
	}
	if op.has(0x81) {
		if m.Value, err = op.next(0x81); err != nil {
			return nil, err
		}
	}
	m.Controls, err = controls(rest, nil, most)
	return m, err
}

// decodeResult reads the LDAPResult of an operation (RFC 4511, section 4.1.9).
func decodeResult(msg []byte, f frame, most int) (*Done, error) {
	rest := der(msg[f.from:])
	op, err := rest.next(f.op)
	if err != nil {
		return nil, err
	}
	code, err := op.next(tagEnumerated)
	if err != nil {
		return nil, err
	}
	d := &Done{MessageID: f.id}
	n, ok := integer(code)
	if !ok || n < 0 || n > maxLength {
		return nil, malformed("a result code of %d bytes that is out of range", len(code))
	}
	d.Code = int(n)
	if d.MatchedDN, err = op.next(tagOctetString); err != nil {
		return nil, err
	}
	if d.Message, err = op.next(tagOctetString); err != nil {
		return nil, err
	}
	d.Controls, err = controls(rest, nil, most)
	return d, err
}
