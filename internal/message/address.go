package message

import (
	"errors"
	"fmt"
	"strings"
)

// maxAddress is the longest address that SMTP carries: RFC 5321, section
// 4.5.3.1.3, less the angle brackets.
const maxAddress = 254

// CheckAddress says what is wrong with the address of one mailbox, a local name
// alone or local@domain.
//
// The address goes into a header field, and "sendmail -t" sends to whatever
// it finds there, qmail's with status 0 even to nobody. So nothing is taken
// that a header could read as more or less than one address. Dots may stand
// anywhere in the local part: Japanese carriers gave out such addresses.
func CheckAddress(address string) error {
	switch {
	case address == "":
		return errors.New("empty")
	case len(address) > maxAddress:
		return fmt.Errorf("longer than %d octets", maxAddress)
	case address[0] == '-':
		// Rather a forgotten word: jmailsend -t -n.
		return errors.New("begins with -")
	}
	local, domain, ok := strings.Cut(address, "@")
	for i := 0; i < len(local); i++ {
		if local[i] != '.' && !atext(local[i]) {
			return badByte(local[i])
		}
	}
	if strings.Trim(local, ".") == "" {
		return errors.New("empty local part")
	}
	if !ok {
		return nil
	}
	return CheckDomain(domain)
}

// CheckDomain says what is wrong with a domain or host name.
func CheckDomain(domain string) error {
	if domain == "" {
		return errors.New("empty domain")
	}
	if len(domain) > maxAddress {
		return fmt.Errorf("longer than %d octets", maxAddress)
	}
	for i := 0; i < len(domain); i++ {
		// The underscore is in no host name, but in names of hosts.
		if c := domain[i]; c != '.' && c != '-' && c != '_' && !alphanumeric(c) {
			return badByte(c)
		}
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" {
			return errors.New("two dots in a row, or one at an end, in the domain")
		}
	}
	return nil
}

// badByte names a byte that does not belong there.
func badByte(c byte) error {
	switch {
	case c == ' ' || c == '\t':
		return errors.New("holds a blank")
	case c < ' ' || c == 0x7f:
		return errors.New("holds a control character")
	case c >= 0x80:
		return errors.New("not ASCII")
	case c == '@':
		return errors.New("holds more than one @")
	}
	return fmt.Errorf("holds %c", c)
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// atext is what an unquoted word of an address is made of: RFC 5322, section
// 3.2.3.
func atext(c byte) bool {
	return alphanumeric(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// HeaderAddress returns an address that CheckAddress found good as it stands in
// a header field. A local part with a dot at either end or two in a row is a
// quoted string there, the only form that RFC 5322 has for it: every reader has
// to take it, while the bare form is a favour that qmail and Postfix do and
// others refuse. The quotation marks are no part of the address.
func HeaderAddress(address string) string {
	local, _, _ := strings.Cut(address, "@")
	if local[0] != '.' && local[len(local)-1] != '.' && !strings.Contains(local, "..") {
		return address
	}
	return `"` + local + `"` + address[len(local):]
}
