// Package escape makes text fit to be shown that comes from mail, from a file name
// or from another user.
package escape

import (
	"fmt"
	"strings"
)

// String returns s with C0, DEL, C1 and bytes that are no UTF-8 as \ooo, and a
// backslash doubled, so that no terminal takes a part of it for a command. Two
// different strings stay different.
func String(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\'
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%03o`, r)
		case r >= 0x80 && r < 0xa0: // C1, two bytes in UTF-8
			fmt.Fprintf(&b, `\%03o\%03o`, s[i], s[i+1])
		case r == 0xfffd && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, `\%03o`, s[i])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
