// Package completion writes the completion of a binary with applets for bash and
// zsh, out of what the applets say of themselves: their options as they are
// declared, and their help. It knows no applet's name.
package completion

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
)

// What an applet's Values may say instead of words: what a shell finds itself.
const (
	User      = "<user>"      // a login name
	Directory = "<directory>" // a directory
	File      = "<file>"      // a file
	Message   = "<message>"   // the number of a message in qmail's queue
	Owner     = "<owner>"     // a directory, or a login name unless -V was given
	Applet    = "<applet>"    // an applet's name
)

// usual returns what is offered for a word for which an applet has no Values of its own.
func usual(name string) string {
	switch name {
	case "DIR":
		return Directory
	case "USER":
		return User
	case "FILE":
		return File
	}
	return ""
}

//go:embed kowaza.bash
var bash string

//go:embed _kowaza
var zsh string

// Shells are those for which Write knows what to write.
var Shells = []string{"bash", "zsh"}

// Write writes to w the completion of a binary called main, which runs applets
// by their names and subcommands by an option that is its first word, for one of
// Shells. suffixed are further names of links.
func Write(w io.Writer, shell string, main *cli.Applet, applets []*cli.Applet, subcommands map[string]*cli.Applet, suffixed []string) error {
	commands := []command{commandOf(main.Name, main)}
	for _, a := range applets {
		commands = append(commands, commandOf(a.Name, a))
	}
	options := slices.Sorted(maps.Keys(subcommands))
	for _, option := range options {
		commands = append(commands, commandOf(main.Name+option, subcommands[option]))
	}
	var names []string
	for _, a := range applets {
		names = append(names, a.Name)
	}
	text, cases := bash, bashCase
	if shell == "zsh" {
		text, cases = zsh, zshCase
	}
	var b strings.Builder
	for _, c := range commands {
		cases(&b, c)
	}
	_, err := io.WriteString(w, strings.NewReplacer(
		"@main@", main.Name,
		"@applets@", strings.Join(names, " "),
		"@links@", strings.Join(append(names, suffixed...), " "),
		"@subcommands@", strings.Join(options, " "),
		"\t@commands@\n", b.String(),
	).Replace(text))
	return err
}

// A command is what completion has to know of an applet.
type command struct {
	name     string
	options  []option
	operands []value
	letters  bool // options are letters with their values in the same word: they do not combine
}

// An option has a letter, a name or both.
type option struct {
	short, long string // with their dashes
	value       *value // nil: it is a flag
	joined      bool   // the value stands in the same word as the letter, or is empty
	repeated    bool
	text        string // what it does
}

// A value is what stands behind an option or as an operand.
type value struct {
	name     string // as in help
	kind     string // words or one of the constants; empty: nothing is known
	repeated bool   // any number of them
}

// helpOption is how help shows an option: a letter with its value joined to it, or
// names and a value, or one that may be left out; then, perhaps on the next line, what
// it does.
const helpOption = `(?m)^ {2,6}(?:-(\w)([A-Z]*)|(?:-(\w), )?--([a-z0-9-]+)(?:\[=[A-Z]+\]| ([A-Z][A-Z/=]*))?)(?: +|\n {10,})(\S.*(?:\n {10,}\S.*)*)`

func commandOf(name string, a *cli.Applet) command {
	c := command{name: name}
	var values map[string]string
	if a.Values != nil {
		values = a.Values()
	}
	kind := func(name string) *value {
		if name == "" {
			return nil
		}
		if kind, ok := values[name]; ok {
			return &value{name: name, kind: kind}
		}
		return &value{name: name, kind: usual(name)}
	}
	shown := make(map[string]option)
	for _, m := range regexp.MustCompile(helpOption).FindAllStringSubmatch(a.Help, -1) {
		text := strings.Join(strings.Fields(m[6]), " ")
		o := option{repeated: strings.Contains(text, "may be repeated"), value: kind(m[2] + m[5])}
		o.text, _, _ = strings.Cut(text, ";")
		shown[m[1]+m[3]+m[4]] = o
	}
	a.OptionSet().VisitAll(func(declared getopt.Option) {
		short, long := strings.Trim(declared.ShortName(), "-"), declared.LongName()
		o := shown[short+long]
		if short != "" {
			o.short = "-" + short
		}
		if long != "" {
			o.long = "--" + long
		}
		if o.joined = long == "" && o.value != nil; o.joined {
			c.letters, o.repeated = true, true
		}
		c.options = append(c.options, o)
	})
	sort.Slice(c.options, func(i, j int) bool { return c.options[i].key() < c.options[j].key() })
	usage, _, _ := strings.Cut(a.Help, "\n")
	for _, word := range operands(usage) {
		v := kind(strings.TrimSuffix(word, "..."))
		v.repeated = strings.HasSuffix(word, "...")
		c.operands = append(c.operands, *v)
	}
	return c
}

// key is what options are sorted by, as in help.
func (o option) key() string {
	if o.long != "" {
		return o.long[2:]
	}
	return o.short
}

// names are those that an option has.
func (o option) names() []string {
	return slices.DeleteFunc([]string{o.short, o.long}, func(name string) bool { return name == "" })
}

// operands returns the words for operands in a usage line, where options stand in
// square brackets of their own, or are called OPTION.
func operands(usage string) []string {
	_, usage, _ = strings.Cut(strings.TrimPrefix(usage, "usage: "), " ")
	depth, options := 0, 0 // of the brackets; of the outermost that holds an option
	var b strings.Builder
	for i, r := range usage {
		switch {
		case r == '[':
			depth++
			if options == 0 && strings.HasPrefix(usage[i+1:], "-") {
				options = depth
			}
		case r == ']':
			if depth == options {
				options = 0
			}
			depth--
		case options == 0:
			b.WriteRune(r)
		}
	}
	var words []string
	for _, word := range strings.Fields(b.String()) {
		if strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.") == "" && word != "..." && word != "OPTION..." {
			words = append(words, word)
		}
	}
	return words
}

// bashCase writes the case of a command: its options, each with a colon and what the
// next word is, or with a plus and what stands in the rest of the same word; then,
// behind a slash, its operands.
func bashCase(b *strings.Builder, c command) {
	var words []string
	for _, o := range c.options {
		for _, name := range o.names() {
			switch {
			case o.joined:
				name += "+" + o.value.bash()
			case o.value != nil:
				name += ":" + o.value.bash()
			}
			words = append(words, name)
		}
	}
	for _, v := range c.operands {
		word := "/" + v.bash()
		if v.repeated {
			word += "..."
		}
		words = append(words, word)
	}
	fmt.Fprintf(b, "\t%s)\n\t\tset --", c.name)
	width := 20
	for _, word := range words {
		if width += len(word) + 1; width > 110 {
			b.WriteString(" \\\n\t\t\t")
			width = 24 + len(word)
		} else {
			b.WriteByte(' ')
		}
		if strings.ContainsAny(word, "<") {
			word = "'" + word + "'"
		}
		b.WriteString(word)
	}
	b.WriteString("\n\t\t;;\n")
}

// bash returns a kind without blanks.
func (v *value) bash() string {
	if v.kind == "" {
		return "none"
	}
	return strings.ReplaceAll(v.kind, " ", ",")
}

// zshCase writes the case of a command: its arguments as _arguments wants them.
func zshCase(b *strings.Builder, c command) {
	how := "-s -S -A '-*'"
	if c.letters {
		how = "-S"
	}
	fmt.Fprintf(b, "\t%s)\n\t\t_arguments %s", c.name, how)
	line := func(spec string) { b.WriteString(" \\\n\t\t\t" + spec) }
	for _, o := range c.options {
		names, end := o.names(), ""
		exclude := "(" + strings.Join(names, " ") + ")"
		switch {
		case o.long == "--help" || o.long == "--version":
			exclude = "(- *)"
		case o.repeated:
			exclude = "*"
		}
		if o.value != nil {
			end = ":" + zshText(o.value.name) + ":" + o.value.zsh()
		}
		for i := range names {
			switch {
			case o.value == nil:
			case o.joined:
				names[i] += "-"
			case names[i] == o.long:
				names[i] += "="
			default:
				names[i] += "+"
			}
		}
		name := names[0]
		if len(names) > 1 {
			name = "'{" + strings.Join(names, ",") + "}'"
		}
		line("'" + exclude + name + "[" + zshText(o.text) + "]" + end + "'")
	}
	for i, v := range c.operands {
		where := fmt.Sprint(i + 1)
		if v.repeated {
			where = "*"
		}
		line("'" + where + ":" + zshText(strings.ToLower(v.name)) + ":" + v.zsh() + "'")
	}
	b.WriteString("\n\t\t;;\n")
}

// zsh returns the action of a kind.
func (v *value) zsh() string {
	switch v.kind {
	case "":
		return " "
	case User:
		return "_users"
	case Directory:
		return "_directories"
	case File:
		return "_files"
	}
	if name, ok := strings.CutPrefix(v.kind, "<"); ok {
		return "_kowaza_" + strings.TrimSuffix(name, ">")
	}
	return "(" + v.kind + ")"
}

// zshText is text within single quotes in an argument of _arguments, where
// brackets and colons end a part.
func zshText(s string) string {
	return strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`, `\`, `\\`).Replace(s)
}
