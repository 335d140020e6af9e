package message

import (
	"net/mail"
	"strings"
	"testing"
)

// TestCheckAddress proves which addresses are taken, and what is said of the
// others.
func TestCheckAddress(t *testing.T) {
	local := strings.Repeat("x", 64)
	tests := []struct{ address, want string }{
		{"hoshu", ""},
		{"hoshu@example.jp", ""},
		{"h@localhost", ""},
		{"a.b-c_d+e=f@mail-1.sub_net.example.jp", ""},
		{"#!$%&'*/?^`{|}~@example.jp", ""},
		{"a..b@docomo.ne.jp", ""},
		{"ab.@ezweb.ne.jp", ""},
		{".ab@docomo.ne.jp", ""},
		{"a..", ""},
		{local + "@" + strings.Repeat("d", 189), ""}, // 254 octets

		{"", "empty"},
		{local + "@" + strings.Repeat("d", 190), "longer than 254 octets"},
		{"-n", "begins with -"},
		{"-a@example.jp", "begins with -"},
		{" ", "holds a blank"},
		{"a b", "holds a blank"},
		{"a@example.jp ", "holds a blank"},
		{" a@example.jp", "holds a blank"},
		{"a\t@example.jp", "holds a blank"},
		{"a@example.jp,b@example.jp", "holds ,"},
		{"a,b", "holds ,"},
		{"a,", "holds ,"},
		{"<a@example.jp>", "holds <"},
		{"a@example.jp>", "holds >"},
		{"A <a@example.jp>", "holds a blank"},
		{"a(b)", "holds ("},
		{"a)", "holds )"},
		{"list:a", "holds :"},
		{"a;", "holds ;"},
		{`"a"@example.jp`, `holds "`},
		{`a\b`, `holds \`},
		{"[a]", "holds ["},
		{"a@[192.0.2.1]", "holds ["},
		{"a@b]", "holds ]"},
		{"a\nBcc: b", "holds a control character"},
		{"a\r", "holds a control character"},
		{"a\x00", "holds a control character"},
		{"a@b\x7f", "holds a control character"},
		{"山田@example.jp", "not ASCII"},
		{"a@例え.jp", "not ASCII"},
		{"a@\xff", "not ASCII"},
		{"a@b@c", "holds more than one @"},
		{"a@@c", "holds more than one @"},
		{"@example.jp", "empty local part"},
		{"@", "empty local part"},
		{".", "empty local part"},
		{"..@example.jp", "empty local part"},
		{"a@", "empty domain"},
		{"a@.", "two dots in a row, or one at an end, in the domain"},
		{"a@.jp", "two dots in a row, or one at an end, in the domain"},
		{"a@example.jp.", "two dots in a row, or one at an end, in the domain"},
		{"a@example..jp", "two dots in a row, or one at an end, in the domain"},
		{"a@example!jp", "holds !"},
	}
	for _, test := range tests {
		got := ""
		if err := CheckAddress(test.address); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("CheckAddress(%q) = %q, want %q", test.address, got, test.want)
		}
	}
}

// TestCheckDomain proves the one rule that no address reaches.
func TestCheckDomain(t *testing.T) {
	if err := CheckDomain(strings.Repeat("d", 255)); err == nil || err.Error() != "longer than 254 octets" {
		t.Error(err)
	}
}

// TestHeaderAddress proves that an address stands in a header in a form that RFC
// 5322 has, and that readers take it for the one address that it is.
func TestHeaderAddress(t *testing.T) {
	for address, want := range map[string]string{
		"hoshu":              "hoshu",
		"a.b@example.jp":     "a.b@example.jp",
		"a..b@docomo.ne.jp":  `"a..b"@docomo.ne.jp`,
		"ab.@docomo.ne.jp":   `"ab."@docomo.ne.jp`,
		".ab@docomo.ne.jp":   `".ab"@docomo.ne.jp`,
		"a...b.@ezweb.ne.jp": `"a...b."@ezweb.ne.jp`,
		"ab.":                `"ab."`,
	} {
		got := HeaderAddress(address)
		if got != want {
			t.Errorf("HeaderAddress(%q) = %s, want %s", address, got, want)
		}
		if !strings.Contains(address, "@") {
			continue
		}
		list, err := mail.ParseAddressList(got)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", got, list, err)
			continue
		}
		local, domain, _ := strings.Cut(list[0].Address, "@")
		if strings.Trim(local, `"`)+"@"+domain != address {
			t.Errorf("%s is read as %s", got, list[0].Address)
		}
	}
}
