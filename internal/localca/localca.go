// Package localca makes the certificates of private servers: an authority of
// the server's own, the server's certificate, and one of a client. They are
// for the demo and for tests, and valid for ten years.
package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Write makes ca, server and client (.pem and .key each) in the folder. The
// server's is valid for localhost, this machine's name and these addresses;
// the client's subject is cn=CLIENT.
func Write(dir, client string, addrs ...net.IP) error {
	names := []string{"localhost"}
	if h, err := os.Hostname(); err == nil {
		names = append(names, h) // libldap checks localhost against the machine's own name
	}
	w := writer(dir)
	ca, caKey, err := w.issue("ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "dirpin private directory"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err == nil {
		_, _, err = w.issue("server", &x509.Certificate{
			Subject:  pkix.Name{CommonName: "localhost"},
			DNSNames: names, IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addrs...),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, ca, caKey)
	}
	if err == nil {
		_, _, err = w.issue("client", &x509.Certificate{
			Subject:  pkix.Name{CommonName: client},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca, caKey)
	}
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	return nil
}

type writer string // the folder

// issue writes NAME.pem and NAME.key, signed by the parent or by itself.
func (w writer) issue(name string, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	c.NotBefore = time.Now().Add(-24 * time.Hour)
	c.NotAfter = time.Now().Add(10 * 365 * 24 * time.Hour)
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	der8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(string(w), name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(string(w), name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8}), 0o600); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}
