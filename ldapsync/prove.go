package ldapsync

import (
	"context"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/internal/secret"
)

// Proof is what a bind says of a password.
type Proof string

// The proofs.
const (
	Proven    Proof = "proven"    // the entry has that password
	Disproven Proof = "disproven" // it has another one
	Unproven  Proof = "unproven"  // the server did not say: the account is locked or disabled, the answer was lost
)

// Prove tells by one bind as the user, on the same server, whether the entry
// has that password. One is never repeated: wrong ones lock accounts. The
// words are the directory's. Active Directory goes on taking the password
// before the last for an hour, so there Proven says that it was set. An OpenLDAP
// whose policy keeps silent about lockouts (no ppolicy_use_lockout) answers for a
// locked account as for a wrong password; a password that was set has unlocked it.
func (p *Passwords) Prove(ctx context.Context, key string, password secret.Value) (Proof, string) {
	if password.IsZero() {
		return Unproven, "an empty password proves nothing: directories take it for an anonymous bind"
	}
	dn, w := p.locate(ctx, key)
	if dn == "" {
		return Unproven, w.Message
	}
	// A connection of its own: a bind changes who we are on it.
	conn, wire, err := dialWire(ctx, p.server, p.o.Agreement, p.tls)
	if err != nil {
		return Unproven, p.words(err, password)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { wire.Close() })
	defer stop()
	r, err := conn.SimpleBind(&ldap.SimpleBindRequest{Username: dn, Password: password.Reveal(), Controls: []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}})
	if err == nil {
		return Proven, ""
	}
	return p.proofOf(r, err), p.words(err, password)
}

// proofOf judges a bind that failed.
func (p *Passwords) proofOf(r *ldap.SimpleBindResult, err error) Proof {
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode != ldap.LDAPResultInvalidCredentials {
		return Unproven // disabled and locked accounts are refused otherwise by 389, and the network proves nothing
	}
	if p.kind == KindAD {
		return proofInAD(err)
	}
	if r != nil {
		for _, c := range r.Controls {
			switch x := c.(type) {
			case *ldap.ControlBeheraPasswordPolicy:
				switch x.Error {
				case ldap.BeheraPasswordExpired, ldap.BeheraChangeAfterReset:
					return Proven // said only to who knows it
				case ldap.BeheraAccountLocked:
					return Unproven
				}
			case *ldap.ControlVChuPasswordMustChange:
				return Proven
			}
		}
	}
	return Disproven
}

// proofInAD reads why Active Directory refuses a logon.
func proofInAD(err error) Proof {
	switch logonCode(err) {
	case "773", "532": // must be changed; has expired: said only to who knows it
		return Proven
	case "52e":
		return Disproven
	}
	return Unproven // 775 locked, 533 disabled, 701 expired account, 530 not at this hour …
}
