package applets

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pborman/getopt/v2"
	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/escape"
	"kowaza/internal/install"
)

// installer is what the binary does under its own name with --install.
var installer = &cli.Applet{
	Name: "kowaza",
	Page: "kowaza-install",
	Help: `usage: kowaza --install [-hnu] [-p PREFIX] [--force NAME]... [--links]
Install kowaza and the links of its applets, or remove them.

      --force NAME  replace the script NAME whatever it is; may be repeated
  -h, --help        show this help
      --links       only the links, to the binary that runs: for packages
  -n, --dry-run     show what would be done, change nothing
  -p, --prefix DIR  install below DIR (default: /usr/local)
  -u, --uninstall   remove what was installed, put the scripts back
      --version     print the version

A script that a link replaces is kept, and the settings at its top are carried
over to /etc/kowaza.conf. DESTDIR in the environment goes before every path,
/etc included.
`,
	Options: func(set *getopt.Set) { new(installOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"NAME": completion.Applet} },
}

func init() { installer.Run = runInstall } // runInstall looks All up, whose applets it must know

type installOptions struct {
	force                    words
	links, dryRun, uninstall bool
	prefix                   string
}

func (o *installOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.force, "force", 0)
	set.FlagLong(&o.links, "links", 0)
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.prefix, "prefix", 'p')
	set.FlagLong(&o.uninstall, "uninstall", 'u')
}

// words is an option that may be repeated.
type words []string

func (w *words) String() string { return strings.Join(*w, " ") }

func (w *words) Set(s string, _ getopt.Option) error {
	*w = append(*w, s)
	return nil
}

func runInstall(env *cli.Env, argv []string) error {
	o := installOptions{prefix: "/usr/local"}
	set := cli.NewSet(argv, o.declare)
	if _, err := env.Parse(set, argv, 0, 0); err != nil {
		return err
	}
	for _, name := range o.force {
		if !slices.ContainsFunc(All, func(a *cli.Applet) bool { return a.Name == name }) {
			return cli.Usagef("--force: %s: no such applet", name)
		}
	}
	root := env.Getenv("DESTDIR")
	if !filepath.IsAbs(o.prefix) {
		return cli.Usagef("--prefix: %s: not an absolute path", o.prefix)
	}
	if strings.ContainsFunc(o.prefix+root, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return cli.Usagef("PREFIX or DESTDIR: control character")
	}
	if root != "" {
		var err error
		if root, err = filepath.Abs(root); err != nil {
			return err
		}
	}
	if env.Files == nil || env.Binary == nil {
		return errors.New("--install: this is not the whole binary")
	}
	binary, err := env.Binary()
	if err != nil {
		return err
	}
	completions := make(map[string]string)
	for _, shell := range completion.Shells {
		var b strings.Builder
		if err := writeCompletion(&b, shell, env.Files); err != nil {
			return err
		}
		completions[shell] = b.String()
	}
	in := &install.Installer{
		Files: env.Files, Completion: completions, Binary: binary, Root: strings.TrimSuffix(root, "/"), Prefix: strings.TrimSuffix(filepath.Clean(o.prefix), "/"),
		LinksOnly: o.links, DryRun: o.dryRun, Force: o.force,
		Applet: linkApplet,
		Did:    func(line string) { io.WriteString(env.Stdout, escape.String(line)+"\n") },
		Note: func(line string) {
			env.Stdout.Flush() // so that a terminal shows what belongs together
			env.Warn("%s", line)
		},
	}
	if !o.dryRun {
		syscall.Umask(0o022)
		if err := mayInstall(in.Root + in.Prefix); err != nil {
			return err
		}
	} else if os.Geteuid() != 0 {
		env.Warn("not run by root: what only root can read is not looked at")
	}
	env.OnlyShows = o.dryRun
	signals := env.Catch(in.Stop)
	run := in.Install
	if o.uninstall {
		run = in.Uninstall
	}
	ok := run()
	if sig := signals.Stop(); sig != nil {
		env.Warn("%s: once more ends the work", cli.Killed(*sig))
		return cli.Killed(*sig)
	}
	if !ok {
		return cli.ErrReported
	}
	return nil
}

// linkApplet returns the name of the applet that a link runs, empty if there is
// none.
func linkApplet(link string) string {
	if a := find(link); a != nil && a != kowaza {
		return a.Name
	}
	return ""
}

// mayInstall returns an error where nothing could be put below prefix: better one
// message than one for each file.
func mayInstall(prefix string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	dir := prefix + "/bin"
	for unix.Access(dir, unix.F_OK) == unix.ENOENT && dir != "/" {
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return &fs.PathError{Op: "install", Path: dir, Err: errors.New(err.Error() + ": nothing was done; run it as root, or with -p PREFIX")}
	}
	return nil
}
