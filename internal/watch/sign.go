package watch

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what job files are signed for: ssh-keygen -Y sign -n dirpin.
const namespace = "dirpin"

// signer returns who signed a file, by the file beside it.
func (f *Folder) signer(d *dir, c *claim, content []byte) (string, error) {
	armored, err := readSignature(d, c.path()+".sig")
	if errors.Is(err, fs.ErrNotExist) {
		return "", refuse("it is not signed: ssh-keygen -Y sign -n dirpin -f KEY FILE writes FILE.sig, which goes beside it, before it or within %s", f.o.Await)
	}
	if err != nil {
		return "", refuse("its signature cannot be read: %v", err)
	}
	allowed, err := readSigners(f.w.Signers)
	if err != nil {
		return "", fmt.Errorf("reading who may sign: %w", err) // not the file's fault: it waits
	}
	who, err := verify(allowed, content, armored, f.o.Now())
	if err != nil {
		return "", refuse("its signature: %v", err)
	}
	return who, nil
}

const maxSignature = 64 << 10

func readSignature(d *dir, name string) ([]byte, error) {
	before, err := d.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !before.Mode().IsRegular() || before.Size() > maxSignature:
		return nil, errors.New("it is no regular file of less than 64 KiB")
	}
	f, err := d.OpenFile(name, os.O_RDONLY|openSafely, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !os.SameFile(before, fi) {
		return nil, errors.Join(err, errors.New("it was replaced while it was opened"))
	}
	b := make([]byte, before.Size())
	n, err := f.Read(b)
	return b[:n], err
}

// signers is a file of allowed signers, as ssh-keygen(1) has it.
type signers []allowedSigner

type allowedSigner struct {
	principals string // a pattern list; the first one names who signed
	key        ssh.PublicKey
	namespaces string // a pattern list; "": any
	after      time.Time
	before     time.Time
}

// readSigners reads the file anew each time: it is short, and who is taken out
// of it may not sign any more. It must be root's, or the service's.
func readSigners(path string) (signers, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := signersMode(path, fi); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all signers
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		all = append(all, *s)
	}
	return all, nil
}

// parseSigner reads "principals [options] keytype key [comment]".
func parseSigner(line string) (*allowedSigner, error) {
	s := &allowedSigner{}
	rest := ""
	if strings.HasPrefix(line, `"`) {
		end := strings.IndexByte(line[1:], '"')
		if end < 0 {
			return nil, errors.New("a quote is not closed")
		}
		s.principals, rest = line[1:1+end], line[end+2:]
	} else if i := strings.IndexAny(line, " \t"); i > 0 {
		s.principals, rest = line[:i], line[i:]
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
	if err != nil || s.principals == "" {
		return nil, errors.New("principals, options and a key are needed here, as ssh-keygen(1) says under ALLOWED SIGNERS")
	}
	s.key = key
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			s.namespaces = value
		case "valid-after":
			s.after, err = parseValid(value)
		case "valid-before":
			s.before, err = parseValid(value)
		case "cert-authority":
			return nil, errors.New("cert-authority: certificates are not taken; name the key itself")
		default:
			return nil, fmt.Errorf("the option %s is not known", printable(name))
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// parseValid reads YYYYMMDD[HHMM[SS]][Z], as ssh-keygen does: local time without
// the Z.
func parseValid(s string) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	layout := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	t, err := time.ParseInLocation(layout, digits, zone)
	if layout == "" || err != nil {
		return t, errors.New("valid-after, valid-before: YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS is needed, with a Z for UTC")
	}
	return t, nil
}

// verify returns who signed the content.
func verify(allowed signers, content, armored []byte, now time.Time) (string, error) {
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return "", errors.New("this is no signature that ssh-keygen -Y sign made")
	}
	if sig.Namespace != namespace {
		return "", errors.New("it was made for another purpose: ssh-keygen -Y sign -n dirpin")
	}
	if sig.Signature == nil || sig.Signature.Format == ssh.KeyAlgoRSA {
		return "", errors.New("it is made by ssh-rsa with SHA-1, which can be forged: use a newer ssh-keygen")
	}
	var why error
	for _, s := range allowed {
		if !bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		switch {
		case s.namespaces != "" && !matchList(s.namespaces, namespace):
			why = errors.New("its key may not sign for dirpin (namespaces)")
		case !s.after.IsZero() && now.Before(s.after):
			why = errors.New("its key may not sign yet (valid-after)")
		case !s.before.IsZero() && !now.Before(s.before):
			why = errors.New("its key may not sign any more (valid-before)")
		default:
			if err := sshsig.Verify(bytes.NewReader(content), sig, s.key, sig.HashAlgorithm, namespace); err != nil {
				return "", errors.New("it does not fit the file, which was changed since it was signed")
			}
			who, _, _ := strings.Cut(s.principals, ",")
			return who, nil
		}
	}
	if why == nil {
		why = fmt.Errorf("its key is not among those who may sign (%s)", ssh.FingerprintSHA256(sig.PublicKey))
	}
	return "", why
}

// matchList tells whether a pattern list of ssh_config(5) has a word.
func matchList(list, word string) bool {
	found := false
	for _, p := range strings.Split(list, ",") {
		pattern, not := strings.CutPrefix(p, "!")
		if !matchPattern(pattern, word) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

func matchPattern(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		for i := 0; i <= len(s); i++ {
			if matchPattern(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	case s == "" || pattern[0] != '?' && pattern[0] != s[0]:
		return false
	}
	return matchPattern(pattern[1:], s[1:])
}
