package dialogue

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A TLSConfig says when TLS begins and what is asked of the server's certificate.
type TLSConfig struct {
	Start    bool           // with STARTTLS (RFC 3207), STLS (RFC 2595)
	Roots    *x509.CertPool // to one of which the certificate must lead; nil: the system's
	Name     string         // for which it must be valid; also sent as SNI
	NoVerify bool           // go on with any certificate
	Days     int            // that it must be valid from now on, also with NoVerify
	Now      func() time.Time
}

// TLS is what is known of a connection's.
type TLS struct {
	Version, Cipher string
	Subject, Issuer string    // of the server's certificate, RFC 4514
	NotAfter        time.Time // of it
	Verified        bool
	Err             error // why it is not; nil where it is
}

// startTLS is RFC 3207 and RFC 2595.
func (c *Conn) startTLS() error {
	command := "STARTTLS"
	if c.cfg.Server.POP3() {
		command = "STLS"
	}
	if _, ok := c.Offers(command); !ok {
		return &Error{Step: StepSTARTTLS, Err: errors.New("the server does not offer " + command)}
	}
	r, err := c.Do(StepSTARTTLS, command)
	switch {
	case err != nil:
		return err
	case r.Code != 220 && r.Sign != "+OK":
		return c.refused(StepSTARTTLS, r)
	case c.r.Buffered() > 0:
		// Whoever is between us and the server may have put it there, to be read as if
		// it had come through TLS.
		c.over = true
		return &Error{Step: StepSTARTTLS, Err: errors.New("text stands behind the server's answer, before TLS: it is not to be trusted")}
	}
	return c.handshake()
}

// handshake begins TLS on the connection.
func (c *Conn) handshake() error {
	began := time.Now()
	state := new(TLS)
	client := tls.Client(c.nc, &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: c.cfg.TLS.Name,
		// It is verified below: so that what is wrong can be shown, and gone on with.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			c.tls = state
			state.fill(s, &c.cfg.TLS)
			if state.Err != nil && !c.cfg.TLS.NoVerify {
				return state.Err
			}
			return state.lasts(&c.cfg.TLS)
		},
	})
	err := client.Handshake()
	if c.tls != nil {
		c.line(NoteMark, state.line(c.cfg.TLS.now()))
	}
	if err != nil {
		c.over = true
		if isEOF(err) {
			err = errClosed
		} else if !isTimeout(err) {
			err = errors.New(strings.TrimPrefix(err.Error(), "tls: "))
		}
		err = c.failed(StepTLS, err)
	}
	c.tell(StepTLS, began, "", Reply{}, err)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.nc = client
	c.mu.Unlock()
	c.r = bufio.NewReaderSize(client, maxLine+2)
	c.capabilities = nil
	return nil
}

func (t *TLSConfig) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

// fill notes what the server has shown of itself, and whether that is good.
func (t *TLS) fill(s tls.ConnectionState, cfg *TLSConfig) {
	t.Version, t.Cipher = tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite)
	leaf := s.PeerCertificates[0]
	t.Subject, t.Issuer, t.NotAfter = name(leaf.Subject, leaf), name(leaf.Issuer, nil), leaf.NotAfter
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		DNSName:       strings.TrimSuffix(cfg.Name, "."),
		Roots:         cfg.Roots,
		Intermediates: between,
		CurrentTime:   cfg.now(),
	})
	if err != nil {
		t.Err = errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	t.Verified = err == nil
}

// name returns a name of a certificate; where it is empty, as it may be, the first host
// that the certificate is for.
func name(n pkix.Name, cert *x509.Certificate) string {
	text := n.String()
	if text == "" && cert != nil && len(cert.DNSNames) > 0 {
		text = "DNS:" + cert.DNSNames[0]
	}
	return text
}

// days returns how many whole days the certificate is valid yet; negative: how long it
// has not been.
func (t *TLS) days(now time.Time) int {
	left := t.NotAfter.Sub(now)
	days := int(left / (24 * time.Hour))
	if left < 0 {
		days--
	}
	return days
}

// lasts says that the certificate's end is nearer than it may be.
func (t *TLS) lasts(cfg *TLSConfig) error {
	if days := t.days(cfg.now()); cfg.Days > 0 && days < cfg.Days {
		return fmt.Errorf("the certificate's days left: %d, fewer than %d", max(0, days), cfg.Days)
	}
	return nil
}

// line is what the transcript says of it.
func (t *TLS) line(now time.Time) string {
	verified := "verified"
	if !t.Verified {
		verified = "not verified: " + t.Err.Error()
	}
	days := t.days(now)
	left := fmt.Sprintf("%d days left", days)
	switch {
	case days == 1:
		left = "1 day left"
	case days < 0:
		left = "expired on " + t.NotAfter.UTC().Format(time.DateOnly)
	}
	return fmt.Sprintf("%s, %s, %s, %s, %s", t.Version, t.Cipher, t.Subject, verified, left)
}
