package install

import (
	"bytes"
	"slices"
)

// pageQuotacheck reports whether a script called mailquotacheck is the page's, with an
// administrator's limits: it sets quota at its top, and does not end before it begins,
// as those do that somebody has switched off or has a program of his own in place of.
func pageQuotacheck(text []byte, script *Script) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if word, _, _ := bytes.Cut(line, []byte(" ")); string(word) == "exit" || bytes.HasPrefix(line, []byte("exit;")) {
			return false
		}
		break
	}
	return slices.ContainsFunc(script.Settings, func(s Setting) bool { return s.Name == "quota" })
}
