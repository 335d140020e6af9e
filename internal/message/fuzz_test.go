package message

import (
	"net/mail"
	"strings"
	"testing"
)

// FuzzAddress proves of any text: what CheckAddress takes is one address by RFC
// 5322 when it stands in a header, the same that was given, and cannot end the
// field, begin another, or be a second recipient.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"hoshu", "taro@example.jp", "taro..hanako@docomo.test", "taro.@docomo.test", ".taro@docomo.test", "a@b@c", "a,b@c", "<a@b>", "a b@c",
		"a@b\r\nBcc: x@y", "-t@x", "a@[127.0.0.1]", "a@-b.test", "a@b_c.test", "a@b..c", "@", "a@", "@b", "\"a b\"@c", "a(b)@c", "たろう@example.jp", "...", "a\x00@b",
		"!#$%&'*+-/=?^_`{|}~@x", strings.Repeat("a", 250) + "@b.c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		err := CheckAddress(address)
		local, domain, at := strings.Cut(address, "@")
		if err != nil {
			return
		}
		if len(address) > 254 || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`,<>()[]:;"\`, r) }) {
			t.Fatalf("%q is taken", address)
		}
		if at && CheckDomain(domain) != nil {
			t.Fatalf("%q is taken, and its domain is not", address)
		}
		shown := HeaderAddress(address)
		if !at {
			shown, address = HeaderAddress(address+"@x"), local+"@x"
		}
		if strings.HasSuffix(domain, "-") || strings.Contains(domain, "_") {
			return // names of hosts, which net/mail may not know
		}
		list, err := mail.ParseAddressList(shown)
		if err != nil || len(list) != 1 || list[0].Address != address || list[0].Name != "" {
			t.Fatalf("%q stands as %q, which is %v, %v", address, shown, list, err)
		}
	})
}
