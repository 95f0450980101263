package ldapsync

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync/tap"
)

// ConnectOptions say to which directory, as whom, and how entries become
// people.
type ConnectOptions struct {
	Agreement config.Agreement
	Password  secret.Value // of the bind account
	Seed      uint64       // of the content hashes
	Now       func() time.Time
	Log       *slog.Logger
	Resolver  Resolver        // of srv: addresses; the system's when nil
	Avoid     map[string]bool // servers, as in Facts.Server, that are not to be asked
}

// Client is a Directory over LDAP. It serves one goroutine.
type Client struct {
	o       ConnectOptions
	server  server
	conn    *tap.Client
	facts   Facts
	filter  string
	paged   bool // the server knows the paged results control
	mapper  *mapper
	unknown []string // configured attributes that the directory does not know

	context      string // the naming context that holds the base
	dirSyncFlags int64  // with which DirSync is to be had
}

var _ Directory = (*Client)(nil)

// Connect returns a connection to the first server of the agreement that is in
// reach. That a server is not is logged, not hidden.
func Connect(ctx context.Context, o ConnectOptions) (*Client, error) {
	name := o.Agreement.Name
	servers, err := findServers(ctx, o.Agreement.Servers, o.Agreement.StartTLS, o.Agreement.InsecurePlaintext, o.Resolver)
	if err != nil {
		return nil, configError(fmt.Errorf("%s: servers: %w", name, err))
	}
	if len(servers) == 0 {
		return nil, configError(fmt.Errorf("%s: no servers are configured", name))
	}
	servers = slices.DeleteFunc(servers, func(s server) bool { return o.Avoid[s.addr] })
	if len(servers) == 0 {
		return nil, directoryError(fmt.Errorf("%s: no other server is configured", name))
	}
	if err := checkSafety(o.Agreement, o.Password, servers); err != nil {
		return nil, configError(fmt.Errorf("%s: %w", name, err))
	}
	tlsConf, err := tlsConfig(o.Agreement)
	if err != nil {
		return nil, configError(fmt.Errorf("%s: %w", name, err))
	}
	for i, s := range servers {
		var c *Client
		if c, err = connect(ctx, o, s, tlsConf); err == nil {
			return c, nil
		}
		if ctx.Err() == nil && unavailable(err) && i+1 < len(servers) {
			o.Log.Warn(fmt.Sprintf("%s: %s unreachable (%v), trying %s", name, s.addr, err, servers[i+1].addr))
			continue
		}
		err = fmt.Errorf("%s: %s: %w", name, s.addr, err)
		break
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, ErrConfig) {
		return nil, err
	}
	return nil, directoryError(err)
}

// refused is an answer that another server would give as well.
type refused struct{ error }

func (e refused) Unwrap() error { return e.error }

// unavailable tells whether another server may do better. A wrong password is
// not tried on the next one: that would lock the account.
func unavailable(err error) bool {
	var r refused
	return !errors.As(err, &r) && !errors.Is(err, ErrConfig)
}

func connect(ctx context.Context, o ConnectOptions, s server, tlsConf *tls.Config) (*Client, error) {
	conn, err := dial(ctx, s, o.Agreement, tlsConf)
	if err != nil {
		return nil, err
	}
	c := &Client{o: o, server: s, conn: conn}
	if err = c.do(ctx, c.bind); err == nil {
		err = c.do(ctx, c.probe)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// do runs an exchange with the server. The connection is given up when the
// context ends.
func (c *Client) do(ctx context.Context, exchange func() error) error {
	stop := context.AfterFunc(ctx, func() { c.conn.Tap.Abort() })
	err := exchange()
	if !stop() {
		return ctx.Err()
	}
	return c.explain(err)
}

// explain says why a connection ended: the library above does not know.
func (c *Client) explain(err error) error {
	why := c.conn.Tap.Err()
	if why == nil || !isCode(err, ldap.ErrorNetwork) && !strings.Contains(fmt.Sprint(err), "unable to read LDAP response packet") {
		return err
	}
	if why == io.EOF { // between two answers
		return errors.New("the server closed the connection")
	}
	return why
}

func (c *Client) bind() error {
	b := c.o.Agreement.Bind
	if b.External {
		if err := c.conn.ExternalBind(); err != nil {
			return refusal(fmt.Errorf("binding with the client certificate: %w", err))
		}
		return nil
	}
	if b.DN == "" {
		return nil
	}
	r, err := c.conn.SimpleBind(&ldap.SimpleBindRequest{Username: b.DN, Password: c.o.Password.Reveal(),
		Controls: []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		return refused{fmt.Errorf("binding as %s: %s (%w)", b.DN, logonRefusal(err), err)}
	}
	if isCode(err, ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired) {
		return refused{fmt.Errorf("binding as %s: the server takes passwords over TLS alone: use ldaps:// or start_tls: true (%w)", b.DN, err)}
	}
	if err != nil {
		return refusal(fmt.Errorf("binding as %s: %w", b.DN, err))
	}
	return c.checkBindControls(r.Controls)
}

// checkBindControls finds the binds that succeed and are worth nothing.
func (c *Client) checkBindControls(controls []ldap.Control) error {
	dn := c.o.Agreement.Bind.DN
	for _, control := range controls {
		switch x := control.(type) {
		case *ldap.ControlVChuPasswordMustChange:
			return refused{fmt.Errorf("binding as %s: the password has expired or must be changed", dn)}
		case *ldap.ControlBeheraPasswordPolicy:
			if x.Error == ldap.BeheraPasswordExpired || x.Error == ldap.BeheraChangeAfterReset {
				return refused{fmt.Errorf("binding as %s: %s", dn, x.ErrorString)}
			}
			if x.Expire >= 0 {
				c.o.Log.Warn(fmt.Sprintf("%s: the password of %s expires in %v", c.o.Agreement.Name, dn, time.Duration(x.Expire)*time.Second))
			}
		}
	}
	return nil
}

// refusal marks the answers that are about us and not about the server.
func refusal(err error) error {
	for _, busy := range []uint16{ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultUnwillingToPerform, ldap.ErrorNetwork} {
		if ldap.IsErrorWithCode(err, busy) {
			return err
		}
	}
	return refused{err}
}

// Facts say what the server is.
func (c *Client) Facts() Facts { return c.facts }

// Close ends the connection.
func (c *Client) Close() error {
	c.conn.Tap.SetDeadline(time.Now().Add(time.Second)) // do not wait for a dead server
	return c.conn.Close()
}
