package acl

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Mask is what is allowed, as Windows counts it.
type Mask windows.ACCESS_MASK

// Rights that a list is asked for. Generic ones stand in lists that a program
// wrote without mapping them.
const (
	// Change is to write a file, remove it, or give its rights away; of a folder,
	// to put something into it or take something out of it.
	Change Mask = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | replace | windows.GENERIC_WRITE
	// Read is to read a file.
	Read Mask = windows.FILE_READ_DATA | windows.GENERIC_READ | windows.GENERIC_ALL
	// Replace is to put another in the place of what a folder holds, or of the
	// folder: who may only add to it cannot.
	Replace Mask = replace

	replace = windows.DELETE | fileDeleteChild | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_ALL

	fileDeleteChild = 0x40
)

// The kinds of entries that allow something ([MS-DTYP] 2.4.4.1).
const (
	allowed               = 0
	denied                = 1
	allowedObject         = 5
	deniedObject          = 6
	allowedCallback       = 9
	deniedCallback        = 10
	allowedCallbackObject = 11
	deniedCallbackObject  = 12
)

// List is who owns something, and whom its access list allows what.
type List struct {
	Owner   *windows.SID
	entries []entry
}

type entry struct {
	who  *windows.SID
	what Mask
}

const asked = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION

// Of returns the list of an open file or folder.
func Of(f *os.File) (*List, error) {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, asked)
	if err != nil {
		return nil, fmt.Errorf("reading the access list of %s: %w", f.Name(), err)
	}
	return parse(f.Name(), sd)
}

// OfPath returns the list of whatever has a path.
func OfPath(path string) (*List, error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, asked)
	if err != nil {
		return nil, fmt.Errorf("reading the access list of %s: %w", path, err)
	}
	return parse(path, sd)
}

func parse(path string, sd *windows.SECURITY_DESCRIPTOR) (*List, error) {
	owner, _, err := sd.Owner()
	if err != nil || owner == nil {
		return nil, fmt.Errorf("whose %s is cannot be told: %w", path, err)
	}
	l := &List{Owner: copySID(owner)}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil { // none at all: everybody may do everything
		everyone, err := windows.CreateWellKnownSid(windows.WinWorldSid)
		if err != nil {
			return nil, err
		}
		l.entries = []entry{{everyone, ^Mask(0)}}
		return l, nil
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return nil, fmt.Errorf("reading the access list of %s: %w", path, err)
		}
		who, err := whom(ace)
		if err != nil {
			return nil, fmt.Errorf("reading the access list of %s: %w", path, err)
		}
		if who == nil || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || who.IsWellKnown(windows.WinCreatorOwnerRightsSid) {
			continue // what the owner has by it is the owner's
		}
		l.entries = append(l.entries, entry{copySID(who), Mask(ace.Mask)})
	}
	return l, nil
}

// whom returns whom an entry allows something; nil where it denies.
func whom(ace *windows.ACCESS_ALLOWED_ACE) (*windows.SID, error) {
	at := unsafe.Pointer(&ace.SidStart)
	switch ace.Header.AceType {
	case denied, deniedObject, deniedCallback, deniedCallbackObject:
		return nil, nil
	case allowed, allowedCallback:
		return (*windows.SID)(at), nil
	case allowedObject, allowedCallbackObject:
		// Flags tell which of two GUIDs stand before whom it is about.
		flags := ace.SidStart
		at = unsafe.Add(at, 4)
		for _, present := range []uint32{1, 2} {
			if flags&present != 0 {
				at = unsafe.Add(at, 16)
			}
		}
		return (*windows.SID)(at), nil
	}
	return nil, fmt.Errorf("it has an entry of an unknown kind (%d)", ace.Header.AceType)
}

// copySID keeps an account beyond the memory of the list that named it.
func copySID(sid *windows.SID) *windows.SID {
	c, err := sid.Copy()
	if err != nil {
		return sid // it is none; every comparison says so
	}
	return c
}

// Others returns who is allowed any of what and is none of those that may.
func (l *List) Others(what Mask, may func(*windows.SID) bool) *windows.SID {
	for _, e := range l.entries {
		if e.what&what != 0 && !may(e.who) {
			return e.who
		}
	}
	return nil
}
