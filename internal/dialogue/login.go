package dialogue

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kowaza/internal/auth"
)

// A Login says who we are.
type Login struct {
	User      string                 // empty: no login
	Mechanism string                 // one of Mechanisms; empty: the best that is offered
	Password  func() (string, error) // asked for when it is needed; the time it takes does not count
	Leaves    bool                   // the end of the context ends the wait for Password, too
	Cleartext bool                   // a password may be read by who listens on the way
}

// POP3's own ways to log in: RFC 1939, 7.
const (
	userMechanism = "USER"
	apopMechanism = "APOP"
)

// Mechanisms returns the names that Login.Mechanism may have.
func Mechanisms(pop3 bool) []string {
	if pop3 {
		return append(slices.Clone(auth.Mechanisms), userMechanism, apopMechanism)
	}
	return auth.Mechanisms
}

// login tries one way to log in, once: a wrong password must not count twice.
func (c *Conn) login() error {
	l := &c.cfg.Login
	mechanism := l.Mechanism
	if mechanism == "" {
		var err error
		if mechanism, err = c.choose(); err != nil {
			return &Error{Step: StepLogin, Err: err}
		}
	}
	timestamp := ""
	if mechanism == apopMechanism {
		if timestamp = c.timestamp(); timestamp == "" {
			return &Error{Step: StepLogin, Err: errors.New("APOP: the server's greeting has no timestamp")}
		}
	}
	if auth.ReadsPassword(mechanism) && c.tls == nil && !l.Cleartext && !c.address.Addr().IsLoopback() {
		return &Error{Step: StepLogin, Err: fmt.Errorf("%s would send the password to %s without TLS", mechanism, c.address.Addr())}
	}
	began := time.Now()
	password, err := c.ask()
	if err != nil {
		return &Error{Step: StepLogin, Err: err}
	}
	c.paused(began)
	c.mechanism = mechanism
	c.secrets.add(password)
	switch mechanism {
	case userMechanism:
		return c.userPass(l.User, password)
	case apopMechanism:
		digest := auth.APOP(timestamp, password)
		c.secrets.add(digest)
		return c.loginLine("APOP "+l.User+" "+digest, "APOP "+l.User+" "+stars)
	}
	return c.sasl(mechanism, l.User, password)
}

// ask returns the password.
func (c *Conn) ask() (password string, err error) {
	if !c.cfg.Login.Leaves {
		return c.cfg.Login.Password()
	}
	done := make(chan struct{})
	go func() {
		password, err = c.cfg.Login.Password()
		close(done)
	}()
	select {
	case <-done:
		return password, err
	case <-c.ctx.Done():
		return "", c.ctx.Err()
	}
}

// choose returns the best mechanism that the server offers.
func (c *Conn) choose() (string, error) {
	keyword := "AUTH"
	if c.cfg.Server.POP3() {
		keyword = "SASL"
	}
	list, offered := c.Offers(keyword)
	for _, name := range auth.Mechanisms {
		if slices.Contains(strings.Fields(strings.ToUpper(list)), name) {
			return name, nil
		}
	}
	switch {
	case c.cfg.Server.POP3() && c.timestamp() != "":
		return apopMechanism, nil
	case c.cfg.Server.POP3():
		return userMechanism, nil
	case offered:
		return "", fmt.Errorf("the server offers none of %s", strings.Join(auth.Mechanisms, ", "))
	}
	return "", errors.New("the server does not offer AUTH")
}

// timestamp returns what stands for APOP in the greeting, with its angle brackets; empty
// where nothing does.
func (c *Conn) timestamp() string {
	from := strings.IndexByte(c.greeting, '<')
	if from < 0 {
		return ""
	}
	to := strings.IndexByte(c.greeting[from:], '>')
	if to < 0 || !strings.Contains(c.greeting[from:from+to], "@") {
		return "" // RFC 1939, 7: it is a msg-id
	}
	return c.greeting[from : from+to+1]
}

// loginLine sends a line that ends the login.
func (c *Conn) loginLine(line, shown string) error {
	r, err := c.exchange(StepLogin, line, shown)
	if err == nil && r.Sign != "+OK" {
		err = c.refused(StepLogin, r)
	}
	return err
}

func (c *Conn) userPass(user, password string) error {
	if strings.ContainsAny(password, "\r\n\x00") {
		return &Error{Step: StepLogin, Err: errors.New("a password with a line end cannot be sent by USER")}
	}
	if err := c.loginLine("USER "+user, "USER "+user); err != nil {
		return err
	}
	return c.loginLine("PASS "+password, "PASS "+stars)
}

// maxCommand is the longest command line, in bytes without its end: RFC 5321,
// 4.5.3.1.4. An initial response that does not fit goes out when it is asked for (RFC
// 4954, 4).
const maxCommand = 510

// sasl is RFC 4954 (SMTP) and RFC 5034 (POP3).
func (c *Conn) sasl(mechanism, user, password string) error {
	m, err := auth.New(mechanism, user, password)
	if err != nil {
		return &Error{Step: StepLogin, Err: err}
	}
	line := "AUTH " + mechanism
	shown := line
	first := m.First()
	if first != nil {
		c.hide(mechanism, first)
		if whole := line + " " + base64.StdEncoding.EncodeToString(first); len(whole) <= maxCommand {
			line, shown, first = whole, shown+" "+stars, nil
		}
	}
	for {
		r, err := c.exchange(StepLogin, line, shown)
		if err != nil {
			return err
		}
		if r.Code != 334 && r.Sign != "+" {
			if r.Code != 235 && r.Sign != "+OK" {
				return c.refused(StepLogin, r)
			}
			if err := m.Done(); err != nil {
				// We are logged in, at whoever this is: say no more to it.
				return &Error{Step: StepLogin, Err: err}
			}
			return nil
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimRight(r.raw[0], " "))
		var answer []byte
		switch {
		case err != nil && mechanism != "LOGIN": // some ask in plain words
			err = errors.New("the server's challenge is no base64")
		case first != nil:
			answer, first, err = first, nil, nil
		default:
			answer, err = m.Next(challenge)
		}
		if err != nil {
			// RFC 4954, 4: this gives it up. The answer to it is no answer to a password.
			if _, cancelErr := c.exchange(StepLogin, "*", "*"); cancelErr != nil {
				return cancelErr
			}
			return &Error{Step: StepLogin, Err: errors.New(c.secrets.mask(mechanism + ": " + err.Error()))}
		}
		line = base64.StdEncoding.EncodeToString(answer)
		shown = line
		if !m.Shown() {
			c.hide(mechanism, answer)
			if shown = stars; line == "" {
				shown = ""
			}
		}
	}
}

// hide makes an answer a secret as it goes over the wire, and the part of it that is one by
// itself. The user's name, which is another, is none.
func (c *Conn) hide(mechanism string, answer []byte) {
	c.secrets.addCoded(answer)
	switch mechanism {
	case "CRAM-MD5":
		if i := strings.LastIndexByte(string(answer), ' '); i >= 0 {
			c.secrets.add(string(answer[i+1:]))
		}
	case "SCRAM-SHA-1", "SCRAM-SHA-256":
		if _, nonce, ok := strings.Cut(string(answer), ",r="); ok && len(answer) > 0 && answer[0] == 'n' {
			c.secrets.add(nonce)
		}
		if _, proof, ok := strings.Cut(string(answer), ",p="); ok {
			c.secrets.add(proof)
			// What the server says next proves that it knows the password.
			c.secrets.challenges = true
		}
	}
}
