package applets

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/auth"
	"kowaza/internal/cli"
	"kowaza/internal/dialogue"
	"kowaza/internal/escape"
	"kowaza/internal/message"
	"kowaza/internal/settings"
	"kowaza/internal/sys"
)

// serverOptions are the options of an applet that talks to a mail server.
type serverOptions struct {
	ip4, ip6, startTLS, noVerify, cleartext   bool
	ca, tlsName, certDays                     string
	user, mechanism, passwordFile, helo, time string

	// As check has read them.
	days    int
	timeout time.Duration
}

func (o *serverOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.ip4, "ipv4", '4')
	set.FlagLong(&o.ip6, "ipv6", '6')
	set.FlagLong(&o.mechanism, "auth", 'a')
	set.FlagLong(&o.ca, "ca", 0)
	set.FlagLong(&o.certDays, "cert-days", 0)
	set.FlagLong(&o.cleartext, "cleartext", 0)
	set.FlagLong(&o.helo, "helo", 'H')
	set.FlagLong(&o.noVerify, "no-verify", 0)
	set.FlagLong(&o.passwordFile, "password-file", 'P')
	set.FlagLong(&o.startTLS, "starttls", 'S')
	set.FlagLong(&o.time, "timeout", 'T')
	set.FlagLong(&o.tlsName, "tls-name", 0)
	set.FlagLong(&o.user, "user", 'u')
}

// serverOptionNames are the long names of the options above.
var serverOptionNames = []string{"ipv4", "ipv6", "auth", "ca", "cert-days", "cleartext", "helo", "no-verify",
	"password-file", "starttls", "timeout", "tls-name", "user"}

// serverMechanisms are the values of --auth that completion offers.
const serverMechanisms = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 USER APOP"

// The bounds of --timeout, in seconds.
const (
	defaultTimeout = 60
	maxTimeout     = 86400
)

// parseServer reads the value of an operand or option that names a server.
func parseServer(what, text string) (dialogue.Server, error) {
	s, err := dialogue.ParseServer(text)
	if err != nil {
		return s, cli.Usagef("%s: %s", what, err)
	}
	return s, nil
}

// check returns the usage error that is in the options, for talking to these servers.
func (o *serverOptions) check(set *cli.Set, servers ...dialogue.Server) error {
	pop3, smtp, tls, plain := false, false, false, false
	for _, s := range servers {
		pop3, smtp = pop3 || s.POP3(), smtp || !s.POP3()
		tls, plain = tls || s.TLS(), plain || !s.TLS()
	}
	var err error
	o.timeout = defaultTimeout * time.Second
	if set.IsSet("timeout") {
		seconds, err := cli.Number("--timeout", o.time, 1, maxTimeout)
		if err != nil {
			return err
		}
		o.timeout = time.Duration(seconds) * time.Second
	}
	if set.IsSet("cert-days") {
		if o.days, err = cli.Number("--cert-days", o.certDays, 1, settings.MaxDays); err != nil {
			return err
		}
	}
	o.mechanism = strings.ToUpper(o.mechanism)
	known := auth.Mechanisms
	if pop3 {
		known = dialogue.Mechanisms(true)
	}
	switch {
	case o.ip4 && o.ip6:
		return cli.Usagef("-4 and -6 exclude each other")
	case set.IsSet("auth") && !slices.Contains(known, o.mechanism):
		return cli.Usagef("--auth: not one of %s", strings.Join(known, ", "))
	case set.IsSet("user") && o.user == "":
		return cli.Usagef("--user: empty")
	case strings.ContainsFunc(o.user, unicode.IsControl):
		return cli.Usagef("--user: holds a control character")
	case o.mechanism == "APOP" && strings.ContainsAny(o.user, " "):
		return cli.Usagef("--user: holds a blank, which APOP cannot send")
	case set.IsSet("password-file") && o.passwordFile == "":
		return cli.Usagef("--password-file: empty")
	case set.IsSet("ca") && o.ca == "":
		return cli.Usagef("--ca: empty")
	case set.IsSet("helo") && (o.helo == "" || strings.ContainsFunc(o.helo, func(r rune) bool { return r <= ' ' || r >= 0x7f })):
		return cli.Usagef("--helo: %s: empty, or with a character that is no printable ASCII", o.helo)
	case set.IsSet("helo") && !smtp:
		return cli.Usagef("--helo: POP3 has no use for it")
	case o.startTLS && !plain:
		return cli.Usagef("--starttls: the dialogue begins with TLS")
	}
	if set.IsSet("tls-name") {
		if err := message.CheckDomain(strings.TrimSuffix(o.tlsName, ".")); err != nil {
			return cli.Usagef("--tls-name: %s: %s", o.tlsName, err)
		}
	}
	// Who gives one of these believes that the certificate is looked at.
	for _, name := range []string{"ca", "cert-days", "no-verify", "tls-name"} {
		if set.IsSet(name) && !tls && !o.startTLS {
			return cli.Usagef("--%s: there is no TLS without --starttls, smtps or pop3s", name)
		}
	}
	return nil
}

// checkLogin is the part of check that the settings may have a word in.
func (o *serverOptions) checkLogin() error {
	if o.user == "" && o.mechanism != "" {
		return cli.Usagef("--auth: needs --user")
	}
	if o.user == "" && o.passwordFile != "" {
		return cli.Usagef("--password-file: needs --user")
	}
	return nil
}

// config returns what the dialogue with a server is to be like. It reads the files that
// are named, and connects to nothing. Host returns the name of this host. The password is
// asked for once, whatever how many dialogues there are.
func (o *serverOptions) config(env *cli.Env, server dialogue.Server, host func() (string, error)) (*dialogue.Config, error) {
	c := &dialogue.Config{
		Server:  server,
		Timeout: o.timeout,
		TLS:     dialogue.TLSConfig{Start: o.startTLS && !server.TLS(), NoVerify: o.noVerify, Days: o.days, Name: o.tlsName, Now: env.Now},
		Login:   dialogue.Login{User: o.user, Mechanism: o.mechanism, Cleartext: o.cleartext},
		Helo:    o.helo,
	}
	switch {
	case o.ip4:
		c.Network = "ip4"
	case o.ip6:
		c.Network = "ip6"
	}
	var err error
	if c.Helo == "" && !server.POP3() {
		if c.Helo, err = host(); err != nil {
			return nil, err
		}
	}
	if server.TLS() || c.TLS.Start {
		switch {
		case c.TLS.Name != "":
		case server.Named:
			c.TLS.Name = server.Host
		default:
			if c.TLS.Name, err = host(); err != nil {
				return nil, err
			}
		}
		if o.ca != "" {
			if c.TLS.Roots, err = roots(o.ca); err != nil {
				return nil, err
			}
		}
	}
	if o.user == "" {
		return c, nil
	}
	ask := func() (string, error) { return env.AskSecret("Password: ") }
	if o.passwordFile != "" {
		password, err := readPassword(o.passwordFile)
		if err != nil {
			return nil, err
		}
		ask = func() (string, error) { return password, nil }
	}
	c.Login.Password = sync.OnceValues(ask)
	// A terminal has its own end, with its echo as it was.
	c.Login.Leaves = !onTerminal(env.Stdin)
	return c, nil
}

// roots returns the system's roots and those of a file (PEM, RFC 7468).
func roots(name string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // none: a bare system
	}
	text, err := readSmall(name, 16<<20, "too large for a file of certificates")
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", name)
	}
	return pool, nil
}

// maxPassword bounds the first line of a password file, in bytes.
const maxPassword = 4096

// openPassword opens a file with a password, which must be one that nobody else may read.
func openPassword(name string) (*os.File, error) {
	f, err := sys.OpenToRead(name, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		why := ""
		switch owner := info.Sys().(*syscall.Stat_t).Uid; {
		case !info.Mode().IsRegular():
			why = "not a regular file"
		case owner != 0 && owner != uint32(os.Geteuid()):
			why = "a password file of somebody else's"
		case info.Mode().Perm()&0o077 != 0:
			why = "others may read or write it: chmod 600"
		default:
			return f, nil
		}
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New(why)}
	}
	f.Close()
	return nil, err
}

// readPassword returns the first line of a file that openPassword opens. No error tells
// what is in it.
func readPassword(name string) (string, error) {
	f, err := openPassword(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fail := func(why string) (string, error) {
		return "", &fs.PathError{Op: "read", Path: name, Err: errors.New(why)}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", err
	}
	line, _, ended := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case !ended && len(text) > maxPassword, len(line) > maxPassword:
		return fail("its first line is too long for a password")
	case line == "":
		return fail("its first line is empty")
	case strings.Contains(line, "\x00"):
		return fail("NUL in the password")
	}
	return line, nil
}

// stepName is what a step is called in messages: the login is the server's word for it.
func stepName(step string) string {
	if step == dialogue.StepLogin {
		return "auth"
	}
	return step
}

// transcriptLine is a line of a dialogue as it is shown.
func transcriptLine(at time.Duration, mark dialogue.Mark, text string) string {
	return fmt.Sprintf("%7.3f %c %s\n", at.Seconds(), mark, escape.String(text))
}

// liveTranscript shows a dialogue as it is held: who waits for a slow server wants to see
// for what.
func liveTranscript(env *cli.Env) func(time.Duration, dialogue.Mark, string) {
	return func(at time.Duration, mark dialogue.Mark, text string) {
		io.WriteString(env.Stdout, transcriptLine(at, mark, text))
		env.Stdout.Flush()
	}
}
