package maildir

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/utf7"
	"golang.org/x/text/unicode/norm"

	"kowaza/internal/escape"
)

// A Folder is a pattern for folders as a mail client shows them: "INBOX" in any
// case, "Trash", "Archive/2019", "ゴミ箱". A * stands for any characters, a /
// included, a ? for one. It is compared in NFC, and a server's own way to write a
// name counts as well, in the pattern and in the name on disk: see readings and
// folderNames.
type Folder struct {
	Name     string // as it was given
	readings []reading
}

// A reading is one way to understand a pattern.
type reading struct {
	pattern  []rune
	below    bool // INBOX stood before it: the Maildir itself is not meant
	dotted   bool // dots are read as separators: only where no folder has one in its name
	leadsDot bool // a name on disk may be meant, with the dot that it begins with
}

// ErrFolder says that a pattern can match no folder, ErrFolderText that it is
// text in another charset than folders' names are compared in.
var (
	ErrFolder     = errors.New("no name of a folder")
	ErrFolderText = errors.New("not in UTF-8")
)

// NewFolder reads a pattern. The error is ErrFolder or ErrFolderText.
func NewFolder(name string) (Folder, error) {
	if !utf8.ValidString(name) {
		// Bytes of another charset would all be alike.
		return Folder{}, ErrFolderText
	}
	if !wellFormed(name) {
		return Folder{}, ErrFolder
	}
	return Folder{name, readings(norm.NFC.String(name))}, nil
}

// Wild reports whether the pattern may stand for more than one folder.
func (f Folder) Wild() bool { return strings.ContainsAny(f.Name, "*?") }

// wellFormed reports whether each part of a name between slashes is there.
func wellFormed(name string) bool {
	return name != "" && name[0] != '/' && name[len(name)-1] != '/' && !strings.Contains(name, "//")
}

// readings returns the ways to understand the text of a pattern: as it stands;
// with Dovecot's listescape undone; without the prefix of the namespace, INBOX. or
// INBOX/, that Courier and many clients put before every other name; with dots
// for slashes.
func readings(text string) []reading {
	if strings.EqualFold(text, inbox) {
		return []reading{{pattern: []rune(inbox)}, {pattern: []rune(text)}}
	}
	var all []reading
	add := func(text string, below, dotted bool) {
		all = append(all, reading{
			pattern: []rune(text), below: below, dotted: dotted,
			// A wildcard that follows would mean every folder of a Maildir++ store.
			leadsDot: !dotted && dotThenLetter(text),
		})
	}
	texts := []string{text}
	if plain := unescapeList(text); plain != text && wellFormed(plain) {
		texts = append(texts, plain)
	}
	for i, text := range texts {
		add(text, false, false)
		rest, below := cutPrefix(text)
		if below {
			add(rest, true, false)
		}
		if i > 0 {
			break // a dot that had to be escaped separates nothing
		}
		if slashed := strings.Join(flatParts(text), "/"); slashed != text {
			add(slashed, false, true)
		}
		if slashed := strings.Join(flatParts(rest), "/"); below && slashed != rest {
			add(slashed, true, true)
		}
	}
	return all
}

// dotThenLetter reports whether a part of the pattern begins with a dot, and none
// with a dot and a wildcard.
func dotThenLetter(text string) bool {
	found := false
	for part := range strings.SplitSeq(text, "/") {
		if !strings.HasPrefix(part, ".") {
			continue
		}
		if len(part) > 1 && (part[1] == '*' || part[1] == '?') {
			return false
		}
		found = true
	}
	return found
}

// cutPrefix cuts INBOX. or INBOX/ off, in any case, if something follows.
func cutPrefix(name string) (rest string, cut bool) {
	n := len(inbox)
	if len(name) > n+1 && strings.EqualFold(name[:n], inbox) && (name[n] == '.' || name[n] == '/') {
		return name[n+1:], true
	}
	return name, false
}

// inbox is the name of the Maildir itself.
const inbox = "INBOX"

// A folderName is what a folder may be called.
type folderName struct {
	shown  string   // as a client shows it
	names  [][]rune // the same, and other ways to write it, in NFC
	onDisk [][]rune // with the dots that a name on disk begins with
	inbox  bool     // it is the Maildir itself
	dotted bool     // a part of the name has a dot in it
}

// folderNames returns the names that a client may show for a folder whose
// directory is dirs below the Maildir. On disk that is one directory
// ".Archive.2019" (Maildir++) or two, "Archive/2019" (Dovecot's layout=fs, where a
// name may begin with a dot), and the names are in modified UTF-7 (RFC 3501,
// 5.1.3) or, by configuration, in UTF-8, and may have \2e for a dot (Dovecot's
// listescape). Where a name reads as two, both are right.
func folderNames(dirs []string) folderName {
	if len(dirs) == 0 {
		return folderName{shown: inbox, names: [][]rune{[]rune(inbox)}, inbox: true}
	}
	var flat []string
	dots := false
	for _, dir := range dirs {
		if rest, ok := strings.CutPrefix(dir, "."); ok {
			flat = append(flat, flatParts(rest)...)
			dots = true
		} else {
			flat = append(flat, dir)
		}
	}
	var f folderName
	for _, text := range spellings(flat) {
		f.shown = text
		f.names = append(f.names, []rune(text))
		if rest, below := cutPrefix(text); below {
			f.names = append(f.names, []rune(rest))
		}
	}
	// What is shown must be found, with what had to be escaped in it, too.
	if shown := escape.String(f.shown); shown != f.shown {
		f.names = append(f.names, []rune(shown))
	}
	for _, part := range decoded(flat, true) {
		f.dotted = f.dotted || strings.Contains(strings.TrimLeft(part, "."), ".")
	}
	if dots {
		for _, text := range spellings(dirs) {
			f.onDisk = append(f.onDisk, []rune(text))
		}
	}
	return f
}

// folderNamesIn is folderNames for a Maildir whose INBOX lies in a directory of it.
func folderNamesIn(dirs, inbox []string) folderName {
	switch {
	case len(inbox) == 0:
	case slices.Equal(dirs, inbox):
		f := folderNames(dirs)
		names := folderNames(nil)
		names.names = append(names.names, f.names...)
		names.onDisk, names.dotted = f.onDisk, f.dotted
		return names
	case len(dirs) == 0:
		return folderName{shown: ".", names: [][]rune{{'.'}}} // no server shows it
	}
	return folderNames(dirs)
}

// flatParts splits a name at its dots. A dot that ends it or follows another, or
// begins it, separates nothing: Dovecot's lazy_expunge makes "..EXPUNGED" for the
// folder ".EXPUNGED".
func flatParts(flat string) []string {
	var parts []string
	begin := 0
	for i := 1; i+1 < len(flat); i++ {
		if flat[i] == '.' && flat[i-1] != '.' && flat[i-1] != '/' && flat[i+1] != '/' && strings.Trim(flat[i:], ".") != "" {
			parts = append(parts, flat[begin:i])
			begin = i + 1
		}
	}
	return append(parts, flat[begin:])
}

// spellings joins the parts of a name as they stand, with modified UTF-7 undone,
// and, last, with listescape undone before it: a server without listescape means
// a backslash where it writes one.
func spellings(parts []string) []string {
	plain := norm.NFC.String(strings.Join(parts, "/"))
	texts := []string{plain}
	if strings.Contains(plain, "&") {
		texts = append(texts, norm.NFC.String(strings.Join(decoded(parts, false), "/")))
	}
	if strings.Contains(plain, `\`) {
		texts = append(texts, norm.NFC.String(strings.Join(decoded(parts, true), "/")))
	}
	return texts
}

// decoded undoes modified UTF-7 in each part and, if asked, listescape before it,
// where they are that.
func decoded(parts []string, listescape bool) []string {
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = part
		if listescape {
			if plain := unescapeList(part); wellFormed(plain) {
				out[i] = plain
			}
		}
		if strings.Contains(part, "&") {
			if text, err := utf7.Encoding.NewDecoder().String(out[i]); err == nil && wellFormed(text) {
				out[i] = text
			}
		}
	}
	return out
}

// unescapeList undoes Dovecot's listescape: a backslash and two hex digits stand
// for a byte.
func unescapeList(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && c != 0 {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A match says whether a pattern takes a folder.
type match int

const (
	no        match = iota
	ifDotless       // only if no folder of the Maildir has a dot in its name
	yes
)

// matches compares the pattern with a folder's names.
func (f Folder) matches(name folderName) match {
	best := no
	for _, r := range f.readings {
		if r.below && name.inbox || r.dotted && best == ifDotless {
			continue
		}
		if matchesOne(r.pattern, name.names) || r.leadsDot && matchesOne(r.pattern, name.onDisk) {
			if !r.dotted {
				return yes
			}
			best = ifDotless
		}
	}
	return best
}

func matchesOne(pattern []rune, names [][]rune) bool {
	for _, name := range names {
		if glob(pattern, name) {
			return true
		}
	}
	return false
}

// glob matches in time that grows with both lengths' product at most: only the
// last * need ever take more.
func glob(pattern, name []rune) bool {
	p, n := 0, 0
	star, taken := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			taken++
			p, n = star+1, taken
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
