package message

import (
	"bytes"
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
