package tap

import (
	"errors"
	"strings"
	"testing"
)

const uuid = "0123456789abcdef"

func stateControl(p form, state byte, id string, cookie ...[]byte) []byte {
	return p.control(OIDSyncState, p.tlv(tagSequence, append([][]byte{p.tlv(tagEnumerated, []byte{state}), p.str(id)}, cookie...)...))
}

func TestSyncState(t *testing.T) {
	p := short
	with := func(controls []byte) *Entry {
		t.Helper()
		e, err := decode(p.message(1, p.tlv(opEntry, p.str("dc=x"), p.tlv(tagSequence)), controls))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	s, ok, err := with(stateControl(p, 2, uuid, p.str("c"))).SyncState()
	if err != nil || !ok || s.State != Modify || string(s.UUID[:]) != uuid || string(s.Cookie) != "c" {
		t.Errorf("%+v %v %v", s, ok, err)
	}
	if s, ok, err = with(stateControl(p, 0, uuid)).SyncState(); err != nil || !ok || s.State != Present || s.Cookie != nil {
		t.Errorf("%+v %v %v", s, ok, err)
	}
	if s, ok, err = with(stateControl(p, 3, uuid, p.str(""))).SyncState(); err != nil || !ok || s.Cookie == nil {
		t.Errorf("an empty cookie is %+v %v %v", s, ok, err)
	}
	if _, ok, err = with(p.control("1.2.3", nil)).SyncState(); err != nil || ok {
		t.Errorf("another control: %v %v", ok, err)
	}
	for name, c := range map[string][]byte{
		"state 4": stateControl(p, 4, uuid), "a negative state": stateControl(p, 0xff, uuid), "a short id": stateControl(p, 1, uuid[1:]),
		"no sequence": p.control(OIDSyncState, p.str("x")), "nothing": p.control(OIDSyncState, nil), "a cookie that is none": stateControl(p, 1, uuid, p.tlv(tagInteger, []byte{1})),
	} {
		if _, ok, err := with(c).SyncState(); ok || !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}

func infoMessage(p form, value []byte) []byte {
	return p.message(1, p.tlv(opIntermediate, p.tlv(0x80, []byte(OIDSyncInfo)), p.tlv(0x81, value)))
}

func TestSyncInfo(t *testing.T) {
	p := short
	no, yes := p.tlv(tagBoolean, []byte{0}), p.tlv(tagBoolean, []byte{0xff})
	read := func(value []byte) (SyncInfo, bool, error) {
		msg := infoMessage(p, value)
		f, err := peek(msg)
		if err != nil {
			t.Fatal(err)
		}
		m, err := decodeIntermediate(msg, f, 100)
		if err != nil {
			t.Fatal(err)
		}
		return m.SyncInfo()
	}
	for _, tt := range []struct {
		name          string
		in            []byte
		kind          InfoKind
		cookie        string
		done, deletes bool
		ids           int
	}{
		{"new cookie", p.tlv(0x80, []byte("c")), NewCookie, "c", false, false, 0},
		{"refresh delete", p.tlv(0xa1, p.str("c"), no), RefreshDelete, "c", false, false, 0},
		{"refresh present, done by default", p.tlv(0xa2), RefreshPresent, "", true, false, 0},
		{"refresh present, done", p.tlv(0xa2, yes), RefreshPresent, "", true, false, 0},
		{"present ids", p.tlv(0xa3, p.tlv(tagSet, p.str(uuid), p.str(uuid))), IDSet, "", false, false, 2},
		{"deleted ids", p.tlv(0xa3, p.str("c"), yes, p.tlv(tagSet, p.str(uuid))), IDSet, "c", false, true, 1},
	} {
		s, ok, err := read(tt.in)
		if err != nil || !ok || s.Kind != tt.kind || string(s.Cookie) != tt.cookie || (s.Cookie == nil) != (tt.cookie == "") || s.Done != tt.done || s.Deletes != tt.deletes || len(s.UUIDs) != tt.ids {
			t.Errorf("%s: %+v %v %v", tt.name, s, ok, err)
		}
	}
	for name, in := range map[string][]byte{
		"nothing": nil, "another tag": p.tlv(0xa4), "no set": p.tlv(0xa3), "a short id": p.tlv(0xa3, p.tlv(tagSet, p.str("x"))),
		"a long boolean": p.tlv(0xa2, p.tlv(tagBoolean, []byte{1, 1})), "cut": {0xa2, 5},
	} {
		if _, ok, err := read(in); ok || !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
	if _, ok, err := (&Intermediate{Name: []byte("1.2.3")}).SyncInfo(); ok || err != nil {
		t.Errorf("another message: %v %v", ok, err)
	}
}

func TestSyncDone(t *testing.T) {
	p := short
	read := func(msg []byte) (*Done, error) {
		f, err := peek(msg)
		if err != nil {
			t.Fatal(err)
		}
		return decodeResult(msg, f, 100)
	}
	d, err := read(p.done(1, 0, p.control(OIDSyncDone, p.tlv(tagSequence, p.str("c"), p.tlv(tagBoolean, []byte{0xff})))))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok, err := d.SyncDone(); err != nil || !ok || string(s.Cookie) != "c" || !s.Deletes || d.Code != 0 || string(d.Message) != "words" {
		t.Errorf("%+v %v %v", s, ok, err)
	}
	d, _ = read(p.done(1, 0, p.control(OIDSyncDone, p.tlv(tagSequence))))
	if s, ok, err := d.SyncDone(); err != nil || !ok || s.Cookie != nil || s.Deletes {
		t.Errorf("%+v %v %v", s, ok, err)
	}
	if d, _ = read(p.done(1, 4)); d.Code != 4 {
		t.Errorf("code %d", d.Code)
	}
	if _, ok, err := d.SyncDone(); ok || err != nil {
		t.Errorf("without a control: %v %v", ok, err)
	}
	if d, err = read(p.message(1, p.tlv(opDone, p.tlv(tagEnumerated, []byte{0x10, 0x00}), p.str(""), p.str("")))); err != nil || d.Code != 4096 {
		t.Errorf("refresh required: %+v %v", d, err)
	}
	if _, err = read(p.message(1, p.tlv(opDone, p.tlv(tagEnumerated, []byte{0xff}), p.str(""), p.str("")))); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "result code") {
		t.Errorf("a negative code: %v", err)
	}
}
