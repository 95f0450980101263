package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
)

const sambaAdminPassword = "Adm1n-Passw0rd"

// sambaAccounts makes svc-sync, which may read everything, tombstones and what
// DirSync gives among it, and svc-reset, which may set passwords.
const sambaAccounts = `
for name, password in (("svc-sync", "Sync-Passw0rd1"), ("svc-reset", "Reset-Passw0rd1")):
    s.newuser(name, password)
    m = ldb.Message(); m.dn = ldb.Dn(s, "CN=%s,CN=Users,%s" % (name, base))
    m["u"] = ldb.MessageElement("66048", ldb.FLAG_MOD_REPLACE, "userAccountControl") # its password never expires
    s.modify(m)
sync, reset = sid("svc-sync"), sid("svc-reset")
s.add({"dn": "OU=Staff," + base, "objectClass": "organizationalUnit"})
for g in ("1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2", "89e95b76-444d-4c62-991a-0facbeda640c"):
    sdu.dacl_add_ace(base, "(OA;;CR;%s;;%s)" % (g, sync)) # replicating directory changes
# Reset Password, and the attributes that go with it, of users
for right, g in (("CR", "00299570-246d-11d0-a768-00aa006e0529"), ("RPWP", "bf967a0a-0de6-11d0-a285-00aa003049e2"), ("RPWP", "28630ebf-41d5-11d1-a9c1-0000f80367c1")):
    sdu.dacl_add_ace(base, "(OA;CIIO;%s;%s;bf967aba-0de6-11d0-a285-00aa003049e2;%s)" % (right, g, reset))
deleted = "CN=Deleted Objects," + base
r = s.search(deleted, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=["show_deleted:1"])
dom = security.dom_sid(s.get_domain_sid())
sddl = ndr_unpack(security.descriptor, r[0]["nTSecurityDescriptor"][0]).as_sddl(dom)
i = sddl.find("(", sddl.find("D:"))
m = ldb.Message(); m.dn = ldb.Dn(s, deleted)
m["sd"] = ldb.MessageElement(ndr_pack(security.descriptor.from_sddl(sddl[:i] + "(A;CI;RPLC;;;%s)" % sync + sddl[i:], dom)), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
s.modify(m, controls=["show_deleted:1"])
`

// sambaTemplate returns the folder of a domain that was provisioned, which
// takes Samba some seconds: it is done once on a machine, under a lock, and
// copied. One that was cut half-way never gets its name, and is removed by the
// next that comes.
func sambaTemplate() (string, error) {
	version, err := sambaVersion()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(version + sambaAdminPassword + sambaAccounts + sambaPrelude))
	return template(fmt.Sprintf("%x", sum[:6]), provision)
}

func template(name string, provision func(dir string) error) (string, error) {
	root := filepath.Join(os.TempDir(), fmt.Sprintf("dirpin-lab-%d", os.Getuid()))
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	if err := trust(root); err != nil {
		return "", err
	}
	done := filepath.Join(root, "samba-"+name)
	unlock, err := lock(done + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(done); err == nil {
		return done, nil
	}
	half := done + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	if err := provision(half); err != nil {
		return "", err
	}
	return done, os.Rename(half, done)
}

// trust refuses a folder of another: its content is run as root.
func trust(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || !fi.IsDir() || int(st.Uid) != os.Getuid() || fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder of this account alone: remove it", dir)
	}
	return nil
}

func sambaVersion() (string, error) {
	binary, err := find("samba")
	if err != nil {
		return "", err
	}
	if _, err := find("samba-tool"); err != nil {
		return "", err
	}
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking Samba for its version: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func provision(dir string) error {
	for _, sub := range []string{"etc", "private", "state", "cache", "lock", "run", "sysvol", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	// The ACLs of sysvol need a file system with attributes that not every one
	// has; xattr_tdb keeps them in a file.
	if err := run("samba-tool", "domain", "provision", "--targetdir="+dir, "--realm=LABAD.EXAMPLE.NET", "--domain=LABAD", "--host-name=labdc", "--host-ip=127.0.0.5",
		"--adminpass="+sambaAdminPassword, "--server-role=dc", "--dns-backend=NONE", "--function-level=2008_R2", "--option=interfaces = 127.0.0.5/8",
		"--option=bind interfaces only = yes", "--option=vfs objects = dfs_samba4 acl_xattr xattr_tdb"); err != nil {
		return fmt.Errorf("provisioning a Samba domain: %w", err)
	}
	conf, sam := filepath.Join(dir, "etc/smb.conf"), filepath.Join(dir, "private/sam.ldb")
	if err := run("samba-tool", "domain", "passwordsettings", "set", "--min-pwd-age=0", "--history-length=3", "--max-pwd-age=0",
		"--account-lockout-threshold=5", "--configfile="+conf, "-H", sam); err != nil {
		return fmt.Errorf("provisioning a Samba domain: %w", err)
	}
	return sambaPython(conf, sam, sambaAccounts)
}

// lock waits until nobody else has the lock of that file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// copyTree copies folders and files. Databases are copied as they lie: nothing
// has them open.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case d.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil // sockets
	})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", from, errMissing)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// me returns the name of the account that runs us.
func me() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}
