package dialogue

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"kowaza/internal/dialogue/dialoguetest"
)

func authority(t *testing.T) *dialoguetest.Authority {
	t.Helper()
	a, err := dialoguetest.NewAuthority("test CA")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *dialoguetest.Authority, host string, until time.Time) tls.Certificate {
	t.Helper()
	c, err := a.Issue(host, until)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(a *dialoguetest.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.PEM())
	return p
}
