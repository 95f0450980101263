package acl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

func listOf(t *testing.T, sddl string) (*List, error) {
	t.Helper()
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		t.Fatal(err)
	}
	return parse("x", sd)
}

// alice is nobody's account.
const alice = "S-1-5-21-1-2-3-1001"

func TestOthers(t *testing.T) {
	trusted, err := Trusted()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, sddl string
		what       Mask
		want       string
	}{
		{"what init makes", "O:BA" + private(Reads, "", ""), Read | Change, ""},
		{"users may read", "O:BAD:(A;;FA;;;SY)(A;;FR;;;BU)", Read, "S-1-5-32-545"},
		{"users may read, which is no change", "O:BAD:(A;;FA;;;SY)(A;;FR;;;BU)", Change, ""},
		{"users may run it only", "O:BAD:(A;;FA;;;SY)(A;;0x20;;;BU)", Read | Change, ""},
		{"users may add to a folder", "O:BAD:(A;;0x4;;;BU)", Change, "S-1-5-32-545"},
		{"users may add to a folder, which replaces nothing", "O:BAD:(A;;0x6;;;BU)", Replace, ""},
		{"users may take out of a folder", "O:BAD:(A;;0x40;;;BU)", Replace, "S-1-5-32-545"},
		{"alice may remove it", "O:BAD:(A;;SD;;;" + alice + ")", Change, alice},
		{"alice may give it away", "O:BAD:(A;;WO;;;" + alice + ")", Change, alice},
		{"alice may write the list", "O:BAD:(A;;WD;;;" + alice + ")", Replace, alice},
		{"rights nobody has mapped", "O:BAD:(A;;GA;;;" + alice + ")", Read, alice},
		{"rights nobody has mapped, to write", "O:BAD:(A;;GW;;;" + alice + ")", Change, alice},
		{"only for what is made within", "O:BAD:(A;OICIIO;FA;;;" + alice + ")(A;;FA;;;SY)", Read | Change, ""},
		{"inherited", "O:BAD:(A;ID;FA;;;" + alice + ")", Read, alice},
		{"what is denied does not help", "O:BAD:(D;;FA;;;" + alice + ")(A;;FA;;;" + alice + ")", Read, alice},
		{"denied alone", "O:BAD:(D;;FA;;;WD)", Read | Change, ""},
		{"what the owner has", "O:BAD:(A;;FA;;;S-1-3-4)", Read | Change, ""},
		{"no list", "O:BA", Read, "S-1-1-0"},
		{"an empty list", "O:BAD:", Read | Change, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := listOf(t, c.sddl)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if other := l.Others(c.what, trusted.Has); other != nil {
				got = other.String()
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.sddl, got, c.want)
			}
		})
	}
}

// Entries about a kind of object, or with a condition, allow something as well.
func TestEntriesOfOtherKinds(t *testing.T) {
	sid, err := windows.StringToSid(alice)
	if err != nil {
		t.Fatal(err)
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(sid)), sid.Len())
	guid := make([]byte, 16)
	for _, c := range []struct {
		kind byte
		body []byte
		want string // "": it denies
		ok   bool
	}{
		{allowed, raw, alice, true},
		{allowedCallback, raw, alice, true},
		{allowedObject, slices.Concat([]byte{0, 0, 0, 0}, raw), alice, true},
		{allowedObject, slices.Concat([]byte{1, 0, 0, 0}, guid, raw), alice, true},
		{allowedObject, slices.Concat([]byte{2, 0, 0, 0}, guid, raw), alice, true},
		{allowedCallbackObject, slices.Concat([]byte{3, 0, 0, 0}, guid, guid, raw), alice, true},
		{denied, raw, "", true}, {deniedObject, raw, "", true}, {deniedCallback, raw, "", true}, {deniedCallbackObject, raw, "", true},
		{4, raw, "", false}, {200, raw, "", false},
	} {
		ace := slices.Concat([]byte{c.kind, 0, byte(8 + len(c.body)), 0}, []byte{255, 1, 31, 0}, c.body)
		who, err := whom((*windows.ACCESS_ALLOWED_ACE)(unsafe.Pointer(&ace[0])))
		if (err == nil) != c.ok || who == nil && c.want != "" || who != nil && who.String() != c.want {
			t.Errorf("kind %d: got %v, %v", c.kind, who, err)
		}
	}
}

// folder is t.TempDir, but that it is removed in a way that Wine 8 knows too.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "acl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var all []string
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { all = append(all, path); return nil })
		for _, path := range slices.Backward(all) {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	})
	return dir
}

// Microsoft's own documents name the service account of TrustedInstaller.
func TestServiceSID(t *testing.T) {
	if got := ServiceSID("TrustedInstaller"); got != trustedInstaller {
		t.Errorf("got %s", got)
	}
	if ServiceSID("DIRPIN") != ServiceSID("dirpin") {
		t.Error("the case of the name counts")
	}
}

func TestAccount(t *testing.T) {
	for name, want := range map[string]string{
		`NT AUTHORITY\SYSTEM`: "S-1-5-18", `builtin\administrators`: "S-1-5-32-544", `%Administrators`: "S-1-5-32-544",
		alice: alice, `NT SERVICE\dirpin`: ServiceSID("dirpin"),
	} {
		sid, _, err := Account(name)
		if err != nil || sid.String() != want {
			t.Errorf("%s: got %v, %v", name, sid, err)
		}
	}
	if _, group, err := Account(`BUILTIN\Administrators`); err != nil || !group {
		t.Errorf("Administrators is no group: %v", err)
	}
	if _, _, err := Account(`NOWHERE\nobody`); err == nil || !strings.Contains(err.Error(), `NOWHERE\nobody`) {
		t.Errorf("got %v", err)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(folder(t), "key")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := Private(f, Read|Change); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: got %v", err)
	}
	like, err := CreateLike(path+".new", path)
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	if err := Private(like, Read|Change); err != nil {
		t.Error(err)
	}
	if _, err := CreateLike(path+".other", path+".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no model: got %v", err)
	}
}

func TestPrivateRefusesWhatEverybodyReads(t *testing.T) {
	path := filepath.Join(folder(t), "open")
	f, err := create(path, "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;WD)")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = Private(f, Read)
	if err == nil || !strings.Contains(err.Error(), "icacls") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestMkdir(t *testing.T) {
	dir := filepath.Join(folder(t), "state")
	for range 2 { // the second time it is there
		if err := Mkdir(dir, Works); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Mkdir(file, Works); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file in its place: got %v", err)
	}
}
