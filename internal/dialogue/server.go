package dialogue

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"kowaza/internal/message"
)

// A Server is where a mail server is and how it is spoken to.
type Server struct {
	Scheme string // smtp, smtps, pop3 or pop3s
	Host   string // a name or an address, that of IPv6 without brackets; never empty
	Named  bool   // Host was given; else it is the loopback address
	Port   int
}

// port returns the port of a scheme; 0 where there is no such scheme.
func port(scheme string) int {
	switch scheme {
	case "smtp":
		return 25
	case "smtps":
		return 465
	case "pop3":
		return 110
	case "pop3s":
		return 995
	}
	return 0
}

// localhost is the server where only a scheme is given.
const localhost = "127.0.0.1"

// ParseServer reads SCHEME or SCHEME://HOST[:PORT]. The error says what is wrong with the
// text, without repeating it: who writes a user and a password before the host, as a URL
// may have them, must not read them in a log.
func ParseServer(text string) (Server, error) {
	scheme, rest, named := strings.Cut(text, "://")
	s := Server{Scheme: strings.ToLower(scheme), Host: localhost, Named: named}
	if s.Port = port(s.Scheme); s.Port == 0 {
		return s, errors.New("not smtp, smtps, pop3 or pop3s, alone or with ://HOST[:PORT] behind it")
	}
	if !named {
		return s, nil
	}
	if strings.ContainsAny(rest, "@/?#") {
		return s, errors.New("a user, a path or a query has no place in it")
	}
	number, hasPort := "", false
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		end := ""
		if s.Host, end, ok = strings.Cut(inner, "]"); !ok {
			return s, errors.New("a bracket without its end")
		}
		if number, hasPort = strings.CutPrefix(end, ":"); !hasPort && end != "" {
			return s, errors.New("text behind the bracket")
		}
		if a, err := netip.ParseAddr(s.Host); err != nil || !a.Is6() {
			return s, errors.New("no IPv6 address in the brackets")
		}
	} else {
		s.Host, number, hasPort = strings.Cut(rest, ":")
		if strings.Contains(number, ":") {
			return s, errors.New("an IPv6 address stands in brackets")
		}
		// The final dot says that the name is whole, and is no part of it.
		if err := message.CheckDomain(strings.TrimSuffix(s.Host, ".")); err != nil {
			return s, fmt.Errorf("the host: %w", err)
		}
		if s.Host[0] == '-' {
			return s, errors.New("the host begins with -")
		}
	}
	if hasPort {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return s, errors.New("the port is no number from 1 to 65535")
		}
		s.Port = int(n)
	}
	return s, nil
}

// POP3 reports whether the server speaks POP3, and not SMTP.
func (s Server) POP3() bool { return strings.HasPrefix(s.Scheme, "pop3") }

// TLS reports whether the dialogue begins with TLS.
func (s Server) TLS() bool { return strings.HasSuffix(s.Scheme, "s") }

// String returns the server as SCHEME://HOST:PORT.
func (s Server) String() string {
	host := s.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return s.Scheme + "://" + host + ":" + strconv.Itoa(s.Port)
}
