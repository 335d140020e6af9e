// Package charsettest has readers of Japanese text that are not ours, for tests.
package charsettest

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"kowaza/internal/charset"
)

// Decoders are readers other than the arithmetic of package charset, by its names.
var Decoders = map[string]encoding.Encoding{
	"ISO-2022-JP": japanese.ISO2022JP,
	"Shift_JIS":   japanese.ShiftJIS,
	"EUC-JP":      japanese.EUCJP,
	"UTF-8":       unicode.UTF8,
}

// Kanji returns every character beyond ASCII that ISO-2022-JP takes.
var Kanji = sync.OnceValue(func() []rune {
	var all []rune
	for r := rune(0x80); r < 0x10000; r++ {
		if _, err := charset.Charsets[0].Encode(string(r)); err == nil {
			all = append(all, r)
		}
	}
	return all
})

// Encode encodes what has to be encodable.
func Encode(t *testing.T, c *charset.Charset, text string) []byte {
	t.Helper()
	b, err := c.Encode(text)
	if err != nil {
		t.Fatalf("%s: Encode(%q): %v", c.Name, text, err)
	}
	return b
}

// Decode reads text in the charset with golang.org/x/text.
func Decode(t *testing.T, c *charset.Charset, text []byte) string {
	t.Helper()
	b, err := Decoders[c.Name].NewDecoder().Bytes(text)
	if err != nil {
		t.Fatalf("%s: %q: %v", c.Name, text, err)
	}
	return string(b)
}

// Filter runs a command over input; it skips the test where there is no such
// command.
func Filter(t *testing.T, input []byte, command ...string) string {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("SKIP %s is not installed", command[0])
	}
	var stderr bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, stderr.String())
	}
	return string(out)
}

// CheckEscapes fails unless encoded is ISO-2022-JP as mail has it, RFC 1468: in 7
// bits, with two escape sequences only, in ASCII at the end of every line.
func CheckEscapes(t *testing.T, encoded []byte) {
	t.Helper()
	for line := range strings.SplitSeq(string(encoded), "\n") {
		inKanji := false
		for line != "" {
			switch {
			case line[0] >= 0x80:
				t.Fatalf("8 bits in %q", encoded)
			case strings.HasPrefix(line, "\x1b$B") && !inKanji, strings.HasPrefix(line, "\x1b(B") && inKanji:
				inKanji = !inKanji
				line = line[3:]
			case line[0] == 0x1b:
				t.Fatalf("escape sequence out of place: %q in %q", line, encoded)
			case inKanji:
				if len(line) < 2 || line[0] < 0x21 || line[0] > 0x7e || line[1] < 0x21 || line[1] > 0x7e {
					t.Fatalf("half a character: %q in %q", line, encoded)
				}
				line = line[2:]
			default:
				line = line[1:]
			}
		}
		if inKanji {
			t.Fatalf("a line does not end in ASCII: %q", encoded)
		}
	}
}
