package applets

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/pborman/getopt/v2"
)

// kowaza is what the binary does under its own name. It is not in All: it is
// no applet that a link stands for.
var kowaza = &Applet{
	Name: "kowaza",
	Help: `usage: kowaza [-h] [--list] [--version] [APPLET [ARGUMENT...]]
Run a small tool for mail administrators: the one that the link is named after.

  -h, --help      show this help
      --list      print the names of all applets, one a line
      --version   print the version

kowaza APPLET --help tells about one applet.
`,
}

func init() { kowaza.Run = runKowaza } // runKowaza shows kowaza.Help: a cycle to the compiler

// version is set by the linker: -X kowaza/applets.version=1.2.3
var version string

// Version is the version of the binary: the linker's word, else what the go
// command recorded, else "unknown".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "unknown"
}

func runKowaza(env *Env, argv []string) error {
	set := getopt.New()
	list := false
	set.FlagLong(&list, "list", 0)
	// What follows the applet's name is the applet's own.
	args, err := env.Parse(set, argv, 0, len(argv))
	if err == errDone && !set.IsSet("version") {
		return env.listApplets()
	}
	switch {
	case err != nil:
		return err
	case list:
		for _, a := range All {
			fmt.Fprintln(env.Stdout, a.Name)
		}
		return nil
	case len(args) == 0:
		env.printHelp(env.help(kowaza))
		return env.listApplets()
	}
	a := find(args[0])
	if a == nil {
		env.Warn("%s: no such applet", args[0])
		return Exit(statusUnknown)
	}
	env.applet = a
	return a.Run(env, args)
}

// listApplets prints one line an applet: the second of its help.
func (env *Env) listApplets() error {
	heading := "Applets:"
	if env.language() != nil {
		heading = "アプレット:"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", heading)
	for _, a := range All {
		_, rest, _ := strings.Cut(env.help(a), "\n")
		what, _, _ := strings.Cut(rest, "\n")
		fmt.Fprintf(&b, "  %-15s %s\n", a.Name, what)
	}
	env.printHelp(b.String())
	return nil
}
