package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"kowaza/internal/escape"
)

// Describe says what an error is about and why, without the name of the system
// call that found it.
func Describe(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return strings.Replace(err.Error(), pe.Error(), pe.Path+": "+pe.Err.Error(), 1)
	}
	return err.Error()
}

// The rules for messages: "applet: what: why", lower case, no full stop, one
// write a line, and no byte that a terminal could take for a command.

// Warn prints one message.
func (env *Env) Warn(format string, a ...any) {
	line := env.applet.Name + ": " + escape.String(fmt.Sprintf(format, a...)) + "\n"
	env.talk.Lock()
	defer env.talk.Unlock()
	env.clearProgress()
	io.WriteString(env.Stderr, line)
}

// maxLike is how many like messages about one place are printed in full.
const maxLike = 20

// like counts messages about one place that differ only in what they name.
type like struct {
	met, shown int
	last       string
}

// WarnLike prints what and why unless maxLike messages with that why have been
// printed for place, or the last of them was the same. WarnedAll says how many
// were kept back.
func (env *Env) WarnLike(place, what string, why error) {
	env.WarnLikeKind(place, why.Error(), what, why.Error())
}

// WarnLikeKind is WarnLike for messages that are like each other if they are of one kind,
// whatever else they say.
func (env *Env) WarnLikeKind(place, kind, what, why string) {
	key := place + "\x00" + kind
	env.talk.Lock()
	if env.said == nil {
		env.said = make(map[string]*like)
	}
	l := env.said[key]
	if l == nil {
		l = new(like)
		env.said[key] = l
	}
	l.met++
	show := l.shown < maxLike && (l.shown == 0 || l.last != what)
	if show {
		l.shown++
		l.last = what
	}
	env.talk.Unlock()
	if show {
		env.Warn("%s: %s", shorten(what), shorten(why))
	}
}

// maxShown bounds what a user's names may add to a message, in bytes.
const maxShown = 1000

// shorten cuts the middle out of a text that is longer than maxShown: cron sends as
// mail what is said.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	const side = maxShown/2 - 20
	return fmt.Sprintf("%s...[%s]...%s", s[:side], Count(int64(len(s)-2*side), "byte"), s[len(s)-side:])
}

// Count returns the number with its noun.
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// WarnedAll ends the messages about place.
func (env *Env) WarnedAll(place string) {
	env.talk.Lock()
	var more []string
	for key, l := range env.said {
		why, ok := strings.CutPrefix(key, place+"\x00")
		if !ok {
			continue
		}
		delete(env.said, key)
		if n := l.met - l.shown; n > 0 {
			more = append(more, fmt.Sprintf("%s: %s: ... and %d more", shorten(place), why, n))
		}
	}
	env.talk.Unlock()
	for _, line := range more {
		env.Warn("%s", line)
	}
}
