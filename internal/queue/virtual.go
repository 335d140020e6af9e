package queue

import (
	"io"
	"strings"
)

// VirtualDomains is control/virtualdomains: what qmail-send puts before the local
// part of a recipient, with a hyphen between, when it makes it a local one. Keys
// are addresses, domains, .domains or empty, in lower case.
type VirtualDomains map[string]string

// maxControl is how much of a control file is read: more than the largest hosts
// have domains.
const maxControl = 64 << 20

// ReadVirtualDomains reads a file of that form (qmail-send(8)): KEY:PREFIX on a
// line; empty lines, and those that begin with #, count for nothing. Where a key
// stands twice the last one holds. The errors are those of r, and ErrTooLarge.
func ReadVirtualDomains(r io.Reader) (VirtualDomains, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxControl+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxControl {
		return nil, ErrTooLarge
	}
	v := make(VirtualDomains)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, " \t\n")
		key, prefix, ok := strings.Cut(line, ":")
		if ok && !strings.HasPrefix(line, "#") {
			v[lowerASCII(key)] = prefix
		}
	}
	return v, nil
}

// Prefix returns what stands before the address as a local recipient: that of the
// whole address, else of its domain, of .domains of which that is a part, the
// longest first, or of all domains. Empty where none is put there.
func (v VirtualDomains) Prefix(address string) string {
	if len(v) == 0 {
		return ""
	}
	address = lowerASCII(address)
	if prefix, ok := v[address]; ok {
		return prefix
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return ""
	}
	for domain := address[at+1:]; ; {
		if prefix, ok := v[domain]; ok {
			return prefix
		}
		if domain == "" {
			return ""
		}
		if dot := strings.IndexByte(domain[1:], '.'); dot >= 0 {
			domain = domain[1+dot:]
		} else {
			domain = ""
		}
	}
}

// lowerASCII lowers as qmail does, which knows no other letters.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
