package message

import (
	"net/mail"
	"slices"
	"strings"
	"testing"
)

// TestAddresses proves that the addresses of a field are found as RFC 5322 writes
// them and as mail has them against it, and that no name, comment or other thing
// passes for one.
func TestAddresses(t *testing.T) {
	for raw, want := range map[string]string{
		"a@example.jp":                                      "a@example.jp",
		" a@example.jp,\n b@example.jp\n":                   "a@example.jp b@example.jp",
		"Taro <a@example.jp>, b@example.jp (Hanako)":        "a@example.jp b@example.jp",
		`"Yamada, Taro <x@y>" <a@example.jp>`:               "a@example.jp",
		`x@y.example <a@example.jp>`:                        "a@example.jp",
		`(x@y, z@w (nested)) a@example.jp`:                  "a@example.jp",
		`friends: a@example.jp, B <b@example.jp>;, c@d`:     "a@example.jp b@example.jp c@d",
		"undisclosed-recipients:;":                          "",
		"<@relay.example,@r2.example:a@example.jp>":         "a@example.jp",
		`"a..b."@docomo.example`:                            "a..b.@docomo.example",
		`Taro <"a..b."@docomo.example>`:                     "a..b.@docomo.example",
		`"a b"@example.jp, c@d`:                             "c@d",
		"\x1b$B\"<,@(\x1b(B <a@example.jp>":                 "a@example.jp",
		"=?ISO-2022-JP?B?GyRCO3NFRBsoQg==?= <a@example.jp>": "a@example.jp",
		`"unclosed, a@example.jp`:                           "a@example.jp",
		"(unclosed, a@example.jp":                           "a@example.jp",
		"<unclosed, a@example.jp":                           "a@example.jp",
		"a @ example.jp, <b @\tc>, Taro T. d@e":             "a@example.jp b@c d@e",
		"Taro a@example.jp":                                 "a@example.jp",
		"a@b@c, @, a@, @b, <>, a@[192.0.2.1], postmaster":   "",
		"": "", "<": "", `"`: "", "(": "", "\x1b": "", `"\`: "", "<\"": "", ",;:": "",
	} {
		if got := strings.Join(Addresses([]byte(raw)), " "); got != want {
			t.Errorf("%q: %q; want %q", raw, got, want)
		}
	}
}

// FuzzAddresses proves that whatever a field holds, it is taken apart, what comes out
// is addresses, and that none is missed that the standard library finds in a field
// that it calls right.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"a@b", `"x, y" <a@b>, c@d`, "g: a@b;", "(c) <a@b>", "\x1b$B\x1b(B <a@b>", `"a\"b"@c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := Addresses([]byte(raw))
		for _, a := range got {
			if CheckAddress(a) != nil || !strings.Contains(a, "@") {
				t.Fatalf("%q: %q", raw, a)
			}
		}
		if strings.ContainsAny(raw, "\x1b\r\n(") {
			return
		}
		list, err := mail.ParseAddressList(raw)
		if err != nil {
			return
		}
		for _, a := range list {
			if CheckAddress(a.Address) == nil && strings.Contains(a.Address, "@") && !slices.Contains(got, a.Address) {
				t.Fatalf("%q: %q is missing in %q", raw, a.Address, got)
			}
		}
	})
}
