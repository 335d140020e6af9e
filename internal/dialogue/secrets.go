package dialogue

import (
	"encoding/base64"
	"strings"
)

// stars stand in the place of a secret. They tell nothing of its length.
const stars = "****"

// secrets are the texts that may not be shown, and how they are found in what a server
// says: some repeat what they did not understand, whole or cut.
type secrets struct {
	short  []string            // in lower case
	grams  map[[gram]byte]bool // each run of that length in a longer one, in lower case
	starts [256]bool           // the first bytes of grams
	known  map[string]bool

	challenges bool // what the server asks next may not be shown either
}

// gram is the length in bytes of a part of a secret that is hidden wherever it stands.
// Shorter ones, "password" above all, are words of any server's: stars in their place
// would tell what they are there to hide.
const gram = 10

// add makes a text a secret, with its base64.
func (s *secrets) add(texts ...string) {
	for _, text := range texts {
		s.addOne(text)
		s.addOne(base64.StdEncoding.EncodeToString([]byte(text)))
	}
}

// addCoded makes the base64 of a text a secret, but not the text.
func (s *secrets) addCoded(text []byte) { s.addOne(base64.StdEncoding.EncodeToString(text)) }

func (s *secrets) addOne(text string) {
	text = lower(text)
	if text == "" || s.known[text] {
		return
	}
	if s.known == nil {
		s.known = make(map[string]bool)
		s.grams = make(map[[gram]byte]bool)
	}
	s.known[text] = true
	if len(text) < gram {
		s.short = append(s.short, text)
		return
	}
	for i := 0; i+gram <= len(text); i++ {
		s.grams[[gram]byte([]byte(text[i:i+gram]))] = true
		s.starts[text[i]] = true
	}
}

// lower returns s with the letters of ASCII in lower case: no byte moves.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// mask returns a text of the server's with stars in the place of what is secret in it.
func (s *secrets) mask(text string) string {
	if s.known == nil {
		return text
	}
	var hidden []bool // the bytes of text; nil: none
	hide := func(from, to int) {
		if hidden == nil {
			hidden = make([]bool, len(text))
		}
		for i := from; i < to; i++ {
			hidden[i] = true
		}
	}
	low := lower(text)
	for i := 0; i+gram <= len(low); i++ {
		if s.starts[low[i]] && s.grams[[gram]byte([]byte(low[i:i+gram]))] {
			hide(i, i+gram)
		}
	}
	for _, secret := range s.short {
		for from := 0; ; {
			i := strings.Index(low[from:], secret)
			if i < 0 {
				break
			}
			i += from
			// Of three letters and less stars within other words would tell more than they hide.
			if end := i + len(secret); len(secret) > 3 || !inWord(low, i-1) && !inWord(low, end) {
				hide(i, end)
			}
			from = i + 1
		}
	}
	if hidden == nil {
		return text
	}
	var b strings.Builder
	for i := range hidden {
		switch {
		case !hidden[i]:
			b.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			b.WriteString(stars)
		}
	}
	return b.String()
}

// inWord reports whether a letter or digit stands at i.
func inWord(low string, i int) bool {
	return i >= 0 && i < len(low) && (low[i] >= 'a' && low[i] <= 'z' || isDigit(low[i]) || low[i] >= 0x80)
}
