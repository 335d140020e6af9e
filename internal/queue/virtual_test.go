package queue

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// TestVirtualDomains proves what stands before an address as a local recipient, by
// each kind of line that control/virtualdomains may have.
func TestVirtualDomains(t *testing.T) {
	v, err := ReadVirtualDomains(strings.NewReader("# comment:x\nExample.com:example.com  \n\n.sub.example.net:netuser\n" +
		"list@example.org:owner-list\nnone.example:\n.example:wide\ntwice.test:first\ntwice.test:last\nno colon\nb.c.test:bc\n.c.test:c:d"))
	must(t, err)
	for address, want := range map[string]string{
		"joe@example.com": "example.com", "JOE@EXAMPLE.COM": "example.com", "joe@mail.example.com": "",
		"bob@host.sub.example.net": "netuser", "bob@a.b.sub.example.net": "netuser", "bob@sub.example.net": "",
		"list@example.org": "owner-list", "List@Example.ORG": "owner-list", "other@example.org": "",
		"a@none.example": "", "a@some.example": "wide", "a@example": "", "a@twice.test": "last",
		"a@b.c.test": "bc", "a@d.c.test": "c:d", "no domain": "", "a@": "", "": "", "comment": "", `"x@y"@example.com`: "example.com",
	} {
		if got := v.Prefix(address); got != want {
			t.Errorf("Prefix(%q) = %q; want %q", address, got, want)
		}
	}
	v, err = ReadVirtualDomains(strings.NewReader(":alias\nlocal.test:\n"))
	must(t, err)
	for address, want := range map[string]string{"a@any.test": "alias", "a@local.test": "", "a@": "alias", "a": ""} {
		if got := v.Prefix(address); got != want {
			t.Errorf("Prefix(%q) = %q; want %q", address, got, want)
		}
	}
	if got := (VirtualDomains)(nil).Prefix("a@b"); got != "" {
		t.Error(got)
	}
	broken := errors.New("broken")
	if _, err := ReadVirtualDomains(iotest.ErrReader(broken)); err != broken {
		t.Error(err)
	}
}
