package lab

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func tlsConfig(t *testing.T, d *Directory) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(d.CAFile())
	fatal(t, err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in " + d.CAFile())
	}
	return &tls.Config{RootCAs: pool}
}
