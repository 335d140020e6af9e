package auth

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"strings"
)

// A Mechanism is one exchange of SASL (RFC 4422) as the client sees it. The server may
// end it at any time.
type Mechanism interface {
	// First returns the initial response; nil where the server speaks first. Where it
	// does not go out with the command it is the answer to an empty challenge, and Next is
	// for the one after that.
	First() []byte

	// Next returns the answer to a challenge. The error says what is wrong with the
	// challenge, and the exchange is to be given up.
	Next(challenge []byte) ([]byte, error)

	// Done is asked when the server says that all is well. Its error is that it did not
	// prove what it has to.
	Done() error

	// Shown reports whether the answer that was returned last may be shown: it is a user's
	// name and nothing else.
	Shown() bool
}

// Mechanisms lists the names of the mechanisms, best first: those that do not send the
// password, and of these the ones in which the server has to know it, too.
var Mechanisms = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"}

// New returns the mechanism of one of the names in Mechanisms. The error says why that
// user or password cannot be sent by it.
func New(name, user, password string) (Mechanism, error) {
	switch {
	case strings.Contains(user, "\x00"), strings.Contains(password, "\x00"):
		return nil, errors.New("NUL in the user's name or the password")
	}
	switch name {
	case "PLAIN":
		return &plain{user: user, password: password}, nil
	case "LOGIN":
		return &login{answers: []string{user, password}}, nil
	case "CRAM-MD5":
		return &cramMD5{user: user, password: password}, nil
	case "SCRAM-SHA-1":
		return newSCRAM(sha1.New, user, password), nil
	case "SCRAM-SHA-256":
		return newSCRAM(sha256.New, user, password), nil
	}
	return nil, errors.New("no such mechanism")
}

// ReadsPassword reports whether who listens to that mechanism reads the password.
func ReadsPassword(name string) bool { return name == "PLAIN" || name == "LOGIN" || name == "USER" }

var errUnasked = errors.New("the server asks once more")

// plain is RFC 4616.
type plain struct{ user, password string }

func (p *plain) First() []byte               { return Plain("", p.user, p.password) }
func (p *plain) Next([]byte) ([]byte, error) { return nil, errUnasked }
func (p *plain) Done() error                 { return nil }
func (p *plain) Shown() bool                 { return false }

// login is no RFC's: servers ask for the name and then for the password, in words that
// differ.
type login struct {
	answers []string
	asked   int
}

func (l *login) First() []byte { return nil }
func (l *login) Done() error   { return nil }
func (l *login) Shown() bool   { return l.asked == 1 }

func (l *login) Next([]byte) ([]byte, error) {
	if l.asked == len(l.answers) {
		return nil, errUnasked
	}
	l.asked++
	return []byte(l.answers[l.asked-1]), nil
}

type cramMD5 struct {
	user, password string
	asked          bool
}

func (c *cramMD5) First() []byte { return nil }
func (c *cramMD5) Done() error   { return nil }
func (c *cramMD5) Shown() bool   { return false }

func (c *cramMD5) Next(challenge []byte) ([]byte, error) {
	switch {
	case c.asked:
		return nil, errUnasked
	case len(challenge) == 0: // the answer would be the same for ever
		return nil, errors.New("the server's challenge is empty")
	}
	c.asked = true
	return CRAMMD5(challenge, c.user, c.password), nil
}
