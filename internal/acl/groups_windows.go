package acl

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// authz is Windows' library that answers what somebody might who is not logged
// on here.
type authz struct {
	manager, context uintptr
}

const (
	authzNoAudit     = 1
	authzInfoGroups  = 2 // AuthzContextInfoGroupsSids
	authzInfoMaximum = 1 << 20
)

func proc(name string) *windows.LazyProc {
	return windows.NewLazySystemDLL("authz.dll").NewProc(name)
}

// Groups returns every group that an account belongs to, those within groups and
// those of this machine too. A domain is asked for it.
func Groups(sid *windows.SID) (groups Accounts, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("finding out which groups %s belongs to: %w", Name(sid), err)
		}
	}()
	// x/sys/windows has none of these calls.
	for _, name := range []string{"AuthzInitializeResourceManager", "AuthzInitializeContextFromSid", "AuthzGetInformationFromContext", "AuthzFreeContext", "AuthzFreeResourceManager"} {
		if err := proc(name).Find(); err != nil {
			return nil, err
		}
	}
	var a authz
	if ok, _, e := proc("AuthzInitializeResourceManager").Call(authzNoAudit, 0, 0, 0, 0, uintptr(unsafe.Pointer(&a.manager))); ok == 0 {
		return nil, e
	}
	defer proc("AuthzFreeResourceManager").Call(a.manager)
	// The identifier is a LUID by value, which is a word of 64 bits; none is zero.
	ok, _, e := proc("AuthzInitializeContextFromSid").Call(0, uintptr(unsafe.Pointer(sid)), a.manager, 0, 0, 0, uintptr(unsafe.Pointer(&a.context)))
	if ok == 0 {
		return nil, e
	}
	defer proc("AuthzFreeContext").Call(a.context)
	return a.groups()
}

func (a *authz) groups() (Accounts, error) {
	get := proc("AuthzGetInformationFromContext")
	var size uint32
	ok, _, e := get.Call(a.context, authzInfoGroups, 0, uintptr(unsafe.Pointer(&size)), 0)
	if ok == 0 && e != windows.ERROR_INSUFFICIENT_BUFFER {
		return nil, e
	}
	if size > authzInfoMaximum {
		return nil, fmt.Errorf("the answer has %d bytes", size)
	}
	buf := make([]uint64, size/8+1) // of words, so that the pointers in it are aligned
	if ok, _, e := get.Call(a.context, authzInfoGroups, uintptr(size), uintptr(unsafe.Pointer(&size)), uintptr(unsafe.Pointer(&buf[0]))); ok == 0 {
		return nil, e
	}
	var all Accounts
	for _, g := range (*windows.Tokengroups)(unsafe.Pointer(&buf[0])).AllGroups() {
		if g.Attributes&windows.SE_GROUP_ENABLED != 0 {
			all = append(all, copySID(g.Sid))
		}
	}
	return all, nil
}
