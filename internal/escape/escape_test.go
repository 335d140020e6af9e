package escape

import (
	"regexp"
	"testing"
)

// TestEscape proves that nothing a terminal obeys comes through, that ordinary
// text does, and that different strings stay different.
func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":         "plain text",
		"日本語":                "日本語",
		"a\nb\tc\r":          `a\012b\011c\015`,
		"\x1b[2J\x00\x7f":    `\033[2J\000\177`,
		"\u0080\u009b\u00a0": `\302\200\302\233` + "\u00a0",
		"\xff\xc3":           `\377\303`,
		"\xe3\x81":           `\343\201`,
		`a\b`:                `a\\b`,
		`\033`:               `\\033`,
		"\ufffd":             "\ufffd",
		"":                   "",
	} {
		if got := String(in); got != want {
			t.Errorf("String(%q) = %q; want %q", in, got, want)
		}
	}
}

// FuzzEscape proves the same for any string: no control byte comes out, what
// comes out is UTF-8, and it can be read back.
func FuzzEscape(f *testing.F) {
	f.Add("a\\\n\x80\u0085\xf0\x90")
	octal := regexp.MustCompile(`\\(\\|[0-3][0-7]{2})`)
	f.Fuzz(func(t *testing.T, in string) {
		out := String(in)
		for _, r := range out {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("String(%q) = %q", in, out)
			}
		}
		back := octal.ReplaceAllStringFunc(out, func(s string) string {
			if s == `\\` {
				return `\`
			}
			return string([]byte{s[1]<<6 | (s[2]&7)<<3 | s[3]&7})
		})
		if back != in {
			t.Fatalf("String(%q) = %q reads back as %q", in, out, back)
		}
	})
}
