package message

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzHeader proves of any bytes that the header ends where its first empty
// line is, however the bytes come in, and that each field is a part of it.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"", "\n", "\r\n", "Subject: a\n\nb", "Subject: a\r\n b\r\n\r\nb", " x\nTo : a\nTO: b", "From:\n\nTo: x", "a\n\r\r\n\n", ":\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		want := -1
		for at := 0; at < len(text); {
			line := text[at : at+lineEnd(text[at:])]
			if string(line) == "\n" || string(line) == "\r\n" {
				want = at
				break
			}
			at += len(line)
		}
		if got := HeaderEnd(text, 0); got != want {
			t.Fatalf("HeaderEnd(%q) = %d; want %d", text, got, want)
		}
		piece = max(1, min(piece, 1000))
		for n, seen := 0, 0; n < len(text); seen = max(0, n-2) {
			n = min(n+piece, len(text))
			if got := HeaderEnd(text[:n], seen); got >= 0 {
				if got != want {
					t.Fatalf("HeaderEnd(%q) = %d in pieces; want %d", text, got, want)
				}
				break
			}
		}
		if want < 0 {
			want = len(text)
		}
		for name, raw := range Fields(text[:want]) {
			// A field is a piece of the text: its name, blanks, a colon, the rest.
			at := strings.Index(string(text), string(name))
			if at < 0 || bytes.ContainsAny(name, ":\n") || !strings.Contains(string(text[:want]), ":"+string(raw)) {
				t.Fatalf("%q: %q: %q", text, name, raw)
			}
		}
		checkRead(t, text, want)
	})
}

// TestReadHeader proves that a header is read to its end in whatever pieces it comes,
// that nothing more than the limit is taken for it, and that an error is not taken for
// the end.
func TestReadHeader(t *testing.T) {
	long := strings.Repeat("Received: from a\r\n by b\r\n", 2000)
	for name, test := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"nothing":           {"", 100, ""},
		"LF":                {"A: b\nC: d\n\nE: f\n", 100, "A: b\nC: d\n"},
		"CR LF":             {"A: b\r\n\r\nE: f\n", 100, "A: b\r\n"},
		"no body":           {"A: b", 100, "A: b"},
		"no header":         {"\nA: b", 100, ""},
		"a CR is no line":   {"A: b\n\r\r\n\nE: f", 100, "A: b\n\r\r\n"},
		"longer than most":  {long + "\r\nE: f", 1 << 20, long},
		"limit":             {"A: bcdefgh\n\nE: f", 6, "A: bcd"},
		"limit at its end":  {"A: b\n\nE: f", 5, "A: b\n"},
		"long, limit in it": {long + "\r\nE: f", 20000, long[:20000]},
	} {
		for way, r := range map[string]io.Reader{
			"at once":      strings.NewReader(test.text),
			"by bytes":     iotest.OneByteReader(strings.NewReader(test.text)),
			"by halves":    iotest.HalfReader(strings.NewReader(test.text)),
			"with the end": iotest.DataErrReader(strings.NewReader(test.text)),
		} {
			if got, err := ReadHeader(r, test.limit); err != nil || string(got) != test.want {
				t.Errorf("%s, %s: %.60q, %v; want %.60q", name, way, got, err, test.want)
			}
		}
	}
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("A: b\n"), iotest.ErrReader(broken))
	if got, err := ReadHeader(r, 100); err != broken || got != nil {
		t.Errorf("%q, %v; want %v", got, err, broken)
	}
	for name, want := range map[string]bool{"Subject": true, "X-!*": true, "": false, "a b": false, "a:": false, "件名": false, "a\x7f": false, "a\x00": false} {
		if IsFieldName(name) != want || IsFieldName([]byte(name)) != want {
			t.Errorf("%q is a name: %v", name, !want)
		}
	}
}

// checkRead holds Read against what is in memory: all lines, and the same fields.
func checkRead(t *testing.T, text []byte, end int) {
	var want, got []string
	for name, raw := range Fields(text[:end]) {
		unfolded := strings.ReplaceAll(strings.ReplaceAll(string(raw), "\r\n", ""), "\n", "")
		want = append(want, strings.ToLower(string(name))+":"+strings.TrimLeft(unfolded, " \t"))
	}
	lines := 0
	err := Read(iotest.OneByteReader(bytes.NewReader(text)), func(name string, value []byte) bool {
		got = append(got, name+":"+string(value))
		return true
	}, func(line []byte, body bool) bool {
		lines++
		return true
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q: Read gives %q, %v; want %q", text, got, err, want)
	}
	wantLines := strings.Count(string(text), "\n")
	if len(text) > 0 && text[len(text)-1] != '\n' {
		wantLines++
	}
	if end < len(text) {
		wantLines-- // the empty one between header and body
	}
	if lines != wantLines {
		t.Fatalf("%q: Read gives %d lines, want %d", text, lines, wantLines)
	}
}
