package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dirpin/dirpin/internal/child"
	"github.com/dirpin/dirpin/internal/localca"
)

// samba is a Samba domain controller of one's own, which is an Active
// Directory as far as LDAP goes. Its ports are fixed, so it has an address of
// loopback for itself; that takes root.
type samba struct {
	dir     string
	ip      string
	process *child.Process
}

const sambaSuffix = "DC=labad,DC=example,DC=net"

// newSamba lays a domain controller out in an existing, empty folder.
func newSamba(dir string) (*samba, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("a Samba domain controller listens on ports 389 and 636: run these tests as root")
	}
	template, err := sambaTemplate()
	if err != nil {
		return nil, err
	}
	s := &samba{dir: dir}
	if s.ip, err = freeAddress("389", "636", "3268", "3269"); err != nil {
		return nil, err
	}
	// Of the template only smb.conf names its own place.
	if err := copyTree(filepath.Join(template, "private"), s.path("private")); err != nil {
		return nil, err
	}
	for _, sub := range []string{"state", "cache", "lock", "run", "log", "ncalrpc"} {
		if err := os.MkdirAll(s.path(sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := localca.Write(dir, "sync", net.ParseIP(s.ip)); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.path("smb.conf"), []byte(s.config()), 0o644)
}

func (s *samba) path(name string) string { return filepath.Join(s.dir, name) }

// config is written afresh: what provisioning makes of the machine's own
// smb.conf has settings that would win. The mask behind the address makes
// Samba take one that is not an interface's own.
func (s *samba) config() string {
	return strings.NewReplacer("$IP", s.ip, "$DIR", s.dir).Replace(`[global]
	netbios name = LABDC
	realm = LABAD.EXAMPLE.NET
	workgroup = LABAD
	server role = active directory domain controller
	server services = ldap
	interfaces = $IP/8
	bind interfaces only = yes
	private dir = $DIR/private
	state directory = $DIR/state
	cache directory = $DIR/cache
	lock directory = $DIR/lock
	binddns dir = $DIR/bind-dns
	pid directory = $DIR/run
	ncalrpc dir = $DIR/ncalrpc
	ntp signd socket directory = $DIR/ntp_signd
	winbindd socket directory = $DIR/winbindd
	log file = $DIR/log/log.samba
	log level = 1
	tls enabled = yes
	tls certfile = $DIR/server.pem
	tls keyfile = $DIR/server.key
	tls cafile = $DIR/ca.pem
	tls verify peer = no_check
	ldap server require strong auth = yes
`)
}

func (s *samba) Start(ctx context.Context) error {
	if s.Running() {
		return nil
	}
	binary, err := find("samba")
	if err != nil {
		return err
	}
	// One process in the foreground.
	if s.process, err = child.Start("Samba", exec.Command(binary, "-s", s.path("smb.conf"), "-M", "single", "-F", "--no-process-group")); err != nil {
		return err
	}
	if err := s.process.Await(ctx, s.Addr(), s.TLSAddr()); err != nil {
		s.process.Kill()
		return err
	}
	return nil
}

func (s *samba) Stop() error            { return s.process.Stop(syscall.SIGTERM) }
func (s *samba) Kill()                  { s.process.Kill() }
func (s *samba) Running() bool          { return s.process.Running() }
func (s *samba) PID() int               { return s.process.PID() }
func (s *samba) Suffix() string         { return sambaSuffix }
func (s *samba) People() string         { return "OU=Staff," + sambaSuffix }
func (s *samba) AdminDN() string        { return "CN=Administrator,CN=Users," + sambaSuffix }
func (s *samba) AdminPassword() string  { return sambaAdminPassword }
func (s *samba) BindDN() string         { return "CN=svc-sync,CN=Users," + sambaSuffix }
func (s *samba) BindPassword() string   { return "Sync-Passw0rd1" }
func (s *samba) WriterDN() string       { return "CN=svc-reset,CN=Users," + sambaSuffix }
func (s *samba) WriterPassword() string { return "Reset-Passw0rd1" }
func (s *samba) CAFile() string         { return s.path("ca.pem") }
func (s *samba) Addr() string           { return s.ip + ":389" }
func (s *samba) TLSAddr() string        { return s.ip + ":636" }
func (s *samba) URL() string            { return "ldap://" + s.ip }
func (s *samba) TLSURL() string         { return "ldaps://" + s.ip }

// script runs one of our programs on the domain's database, of a server that
// may run.
func (s *samba) script(text string, args ...string) error {
	return sambaPython(s.path("smb.conf"), s.path("private/sam.ldb"), text, args...)
}

// sambaPython runs a program with `s`, the database, and `args`.
func sambaPython(conf, sam, text string, args ...string) error {
	// Debian's own Python has Samba's modules; another one in the PATH has not.
	cmd := exec.Command("/usr/bin/python3", append([]string{"-c", sambaPrelude + text, conf, sam}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("changing Samba's database: %w: %s", err, child.LastLines(out))
	}
	return nil
}

const sambaPrelude = `
import sys, ldb
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.auth import system_session
from samba.ndr import ndr_unpack, ndr_pack
from samba.dcerpc import security
from samba import sd_utils
lp = LoadParm(); lp.load(sys.argv[1])
s = SamDB(url=sys.argv[2], lp=lp, session_info=system_session())
args = sys.argv[3:]
base = str(s.domain_dn())
sdu = sd_utils.SDUtils(s)
def sid(name):
    return ndr_unpack(security.dom_sid, s.search(base, ldb.SCOPE_SUBTREE, "(sAMAccountName=%s)" % name, ["objectSid"])[0]["objectSid"][0])
`

// freeAddress returns an address of loopback on which nobody listens at these
// ports.
func freeAddress(ports ...string) (string, error) {
	var err error
	for n := range 200 {
		ip := fmt.Sprintf("127.%d.%d.%d", 80+n%100, os.Getpid()/200%200+1, os.Getpid()%200+1)
		if err = listenOnce(ip, ports); err == nil {
			return ip, nil
		}
	}
	return "", fmt.Errorf("looking for a free address of loopback: %w", err)
}

func listenOnce(ip string, ports []string) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, p))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}
