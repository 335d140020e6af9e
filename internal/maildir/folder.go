package maildir

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/utf7"
	"golang.org/x/text/unicode/norm"
)

// A Folder is a pattern for folders as a mail client shows them: "INBOX" in any
// case, "Trash", "Archive/2019", "ゴミ箱". A * stands for any characters, a /
// included, a ? for one. It is compared in NFC.
type Folder struct {
	Name    string // as it was given
	pattern []rune
}

// ErrFolder says that a pattern can match no folder.
var ErrFolder = errors.New("no name of a folder")

// NewFolder reads a pattern.
func NewFolder(name string) (Folder, error) {
	// Bytes of another charset would all be alike.
	if name == "" || !utf8.ValidString(name) || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return Folder{}, ErrFolder
	}
	pattern := norm.NFC.String(name)
	if strings.EqualFold(pattern, inbox) {
		pattern = inbox
	}
	return Folder{name, []rune(pattern)}, nil
}

// inbox is the name of the Maildir itself.
const inbox = "INBOX"

// folderNames returns the names that a client may show for a folder whose
// directory is dirs below the Maildir. On disk that is one directory
// ".Archive.2019" (Maildir++) or two, "Archive/2019" (Dovecot's layout=fs), and
// the names are in modified UTF-7 (RFC 3501, 5.1.3) or, by configuration, in
// UTF-8. Where a name reads as both, both are right.
func folderNames(dirs []string) []string {
	if len(dirs) == 0 {
		return []string{inbox}
	}
	var parts []string
	for _, dir := range dirs {
		if flat, ok := strings.CutPrefix(dir, "."); ok {
			parts = append(parts, strings.Split(flat, ".")...)
		} else {
			parts = append(parts, dir)
		}
	}
	plain := norm.NFC.String(strings.Join(parts, "/"))
	if !strings.Contains(plain, "&") {
		return []string{plain}
	}
	for i, part := range parts {
		if decoded, err := utf7.Encoding.NewDecoder().String(part); err == nil {
			parts[i] = decoded
		}
	}
	return []string{plain, norm.NFC.String(strings.Join(parts, "/"))}
}

// matches tells whether the pattern takes one of the names.
func (f Folder) matches(names []string) bool {
	for _, name := range names {
		if glob(f.pattern, []rune(name)) {
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

// hasFlag tells whether a message's name has the flag: it ends in ":2," and the
// flags, behind which some servers put more after a comma (maildir(5)).
func hasFlag(name []byte, flag byte) bool {
	for i := len(name) - 1; i >= 2; i-- {
		if name[i] != ',' || name[i-1] != '2' || name[i-2] != ':' {
			continue
		}
		for _, c := range name[i+1:] {
			if c == flag {
				return true
			}
			if c == ',' {
				return false
			}
		}
		return false
	}
	return false
}
