package install

import (
	"regexp"
	"sync"
)

// A pattern is a regular expression that is compiled when it is first used: every
// applet has this package in it, and mailtest is started for each message.
type pattern struct {
	expr string
	once sync.Once
	made *regexp.Regexp
}

func (p *pattern) re() *regexp.Regexp {
	p.once.Do(func() { p.made = regexp.MustCompile(p.expr) })
	return p.made
}
