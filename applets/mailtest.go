package applets

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"kowaza/internal/cli"

	"github.com/pborman/getopt/v2"
)

var mailtest = &cli.Applet{
	Name: "mailtest",
	Help: `usage: mailtest [-h] [-x CODE]
Show what a .qmail program receives: each line of it, followed by <and>.

  -h, --help        show this help
      --version     print the version
  -x, --exit CODE   exit with CODE (0, 99, 100 or 111) instead of 99: with 0,
                    qmail goes on with the lines below, with 99 it ignores them

Example, a line of a .qmail file: |/usr/local/sbin/mailtest >mailtest.txt
Settings: MAILTEST_EXIT in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(mailtestOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"CODE": "0 99 100 111"} },
	Run:     runMailtest,
	Fail:    111, // qmail keeps the mail and tries again, qmail-command(8)
}

type mailtestOptions struct{ exit string }

func (o *mailtestOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.exit, "exit", 'x')
}

func runMailtest(env *cli.Env, argv []string) error {
	var o mailtestOptions
	set := cli.NewSet(argv, o.declare)
	_, err := env.Parse(set, argv, 0, 0)
	if err != nil {
		return err
	}
	status := 0
	if set.IsSet("exit") {
		if status, err = exitOption(o.exit, "0", "99", "100", "111"); err != nil {
			return err
		}
	} else {
		s, err := env.Settings()
		if err != nil {
			return err
		}
		status = s.MailtestExit
	}
	if err := markLines(env.Stdout, env.Stdin); err != nil {
		return err
	}
	return cli.Exit(status)
}

// mark is what the page's script prints behind each line that it read.
var mark = []byte("<and>\n")

// markLines copies r to w with a mark after every newline and one at the end:
// where the input ends, the page's loop has read one more line, an empty one or
// one without a newline. Memory does not depend on the input.
func markLines(w io.Writer, r io.Reader) error {
	// Of 60-byte lines from pipe to pipe, 64 kB (a pipe's size) move as fast as
	// any larger buffer.
	in := make([]byte, 64<<10)
	out := make([]byte, 0, 2*len(in))
	for {
		n, err := r.Read(in)
		for part := in[:n]; len(part) > 0; {
			i := bytes.IndexByte(part, '\n') + 1
			if i == 0 {
				i = len(part)
			}
			out = append(out, part[:i]...)
			if part[i-1] == '\n' {
				out = append(out, mark...)
			}
			part = part[i:]
			// An input of newlines alone becomes seven times as long.
			if len(out) >= len(in) {
				if _, err := w.Write(out); err != nil {
					return err
				}
				out = out[:0]
			}
		}
		switch {
		case err == io.EOF:
			_, err = w.Write(append(out, mark...))
			return err
		case err != nil:
			return &readError{err}
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// exitOption reads the argument of --exit, which must be one of the statuses.
func exitOption(value string, statuses ...string) (int, error) {
	if !slices.Contains(statuses, value) {
		return 0, cli.Usagef("--exit: %s: not one of %s", value, strings.Join(statuses, ", "))
	}
	return strconv.Atoi(value)
}
