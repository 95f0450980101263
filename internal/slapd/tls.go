package slapd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// writeCertificates makes an authority of the server's own, and with it the
// server's certificate, and one of the account that synchronizes
// (client.pem and client.key) for EXTERNAL binds.
func (s *Server) writeCertificates() error {
	names := []string{"localhost"}
	if h, err := os.Hostname(); err == nil {
		names = append(names, h) // libldap checks localhost against the machine's own name
	}
	ca, caKey, err := s.issue("ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "dirpin private slapd"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return err
	}
	if _, _, err = s.issue("server", &x509.Certificate{
		Subject:  pkix.Name{CommonName: "localhost"},
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey); err != nil {
		return err
	}
	_, _, err = s.issue("client", &x509.Certificate{
		Subject:  pkix.Name{CommonName: "sync"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	return err
}

// issue writes NAME.pem and NAME.key, signed by the parent or by itself.
func (s *Server) issue(name string, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
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
	if err := os.WriteFile(s.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(s.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8}), 0o600); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// ClientFiles returns the certificate and key with which EXTERNAL binds as
// BindDN.
func (s *Server) ClientFiles() (cert, key string) { return s.path("client.pem"), s.path("client.key") }
