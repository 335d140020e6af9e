package applets

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/install"
)

// kowaza is what the binary does under its own name. It is not in All: it is
// no applet that a link stands for.
var kowaza = &cli.Applet{
	Name: "kowaza",
	Help: `usage: kowaza [-h] [--OPTION] [APPLET [ARGUMENT...]]
Run a small tool for mail administrators: the one that the link is named after.

      --check             show what would be used here, and what is wrong
      --completion SHELL  print the completion for bash or zsh
  -h, --help              show this help
      --install           put kowaza in place: see kowaza --install --help
      --list              print the names of all applets, one a line
      --version           print the version

kowaza APPLET --help tells about one applet.
`,
	Options: func(set *getopt.Set) { new(kowazaOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"SHELL": strings.Join(completion.Shells, " "), "APPLET": completion.Applet}
	},
}

func init() { kowaza.Run = runKowaza } // runKowaza shows kowaza.Help: a cycle to the compiler

type kowazaOptions struct {
	completion           string
	check, install, list bool
}

func (o *kowazaOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.check, "check", 0)
	set.FlagLong(&o.completion, "completion", 0)
	set.FlagLong(&o.install, "install", 0)
	set.FlagLong(&o.list, "list", 0)
}

func runKowaza(env *cli.Env, argv []string) error {
	if len(argv) > 1 && argv[1] == "--install" {
		return env.RunAs(installer, argv[1:])
	}
	var o kowazaOptions
	set := cli.NewSet(argv, o.declare)
	// What follows the applet's name is the applet's own.
	args, err := env.Parse(set, argv, 0, len(argv))
	if err == cli.ErrDone && !set.IsSet("version") {
		return listApplets(env)
	}
	switch {
	case err != nil:
		return err
	case o.install:
		return cli.Usagef("--install stands before all other options")
	case o.check:
		if len(args) > 0 {
			return cli.Usagef("too many operands: %s", args[0])
		}
		return checkHost(env)
	case set.IsSet("completion"):
		if len(args) > 0 {
			return cli.Usagef("too many operands: %s", args[0])
		}
		if !slices.Contains(completion.Shells, o.completion) {
			return cli.Usagef("--completion: %s: not one of %s", o.completion, strings.Join(completion.Shells, ", "))
		}
		return writeCompletion(env.Stdout, o.completion, env.Files)
	case o.list:
		for _, a := range All {
			fmt.Fprintln(env.Stdout, a.Name)
		}
		return nil
	case len(args) == 0:
		env.ShowHelp()
		return listApplets(env)
	}
	a := find(args[0])
	if a == nil {
		env.Warn("%s: no such applet", args[0])
		return cli.Exit(cli.StatusUnknown)
	}
	return env.RunAs(a, args)
}

// writeCompletion writes the completion of all commands for a shell. files has
// symlinks.txt, the names of the links; it may be nil.
func writeCompletion(w io.Writer, shell string, files fs.FS) error {
	var further []string
	if files != nil {
		links, err := install.Links(files)
		if err != nil {
			return err
		}
		for _, link := range links {
			if name := path.Base(link); !slices.Contains(further, name) && !slices.ContainsFunc(All, func(a *cli.Applet) bool { return a.Name == name }) {
				further = append(further, name)
			}
		}
	}
	return completion.Write(w, shell, kowaza, All, map[string]*cli.Applet{"--install": installer}, further)
}

// listApplets prints one line an applet: the second of its help.
func listApplets(env *cli.Env) error {
	heading := "Applets:"
	if env.Language() != nil {
		heading = "アプレット:"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", heading)
	for _, a := range All {
		_, rest, _ := strings.Cut(env.HelpOf(a), "\n")
		what, _, _ := strings.Cut(rest, "\n")
		fmt.Fprintf(&b, "  %-15s %s\n", a.Name, what)
	}
	env.PrintHelp(b.String())
	return nil
}
