package applets

import (
	"fmt"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/auth"
	"kowaza/internal/cli"
)

var mkdigest = &cli.Applet{
	Name: "mkdigest",
	Help: `usage: mkdigest [-hp] [-u USER] CHALLENGE[PASSWORD]
Print the digest that answers a POP3 server's APOP challenge.

The challenge is what stands in the server's greeting, with its angle brackets;
the password follows it immediately, in the same word.

  -h, --help        show this help
  -p, --password    ask for the password: the operand is the challenge alone
  -u, --user USER   print the whole line to be sent: APOP USER DIGEST
      --version     print the version

Example: mkdigest "<1234.1096123456@mail.hoge.cxm>passwd"
`,
	Options: func(set *getopt.Set) { new(mkdigestOptions).declare(set) },
	Run:     runMkdigest,
	Secret:  true,
}

type mkdigestOptions struct {
	ask  bool
	user string
}

func (o *mkdigestOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.ask, "password", 'p')
	set.FlagLong(&o.user, "user", 'u')
}

func runMkdigest(env *cli.Env, argv []string) error {
	var o mkdigestOptions
	set := cli.NewSet(argv, o.declare)
	args, err := env.Parse(set, argv, 1, 1)
	if err != nil {
		return err
	}
	withUser := set.IsSet("user")
	if withUser && (o.user == "" || strings.ContainsFunc(o.user, func(r rune) bool { return r <= ' ' || r == 0x7f })) {
		return cli.Usagef("--user: %s: empty, or with a blank or a control character", o.user)
	}
	password := "" // else it stands behind the challenge already
	if o.ask {
		if password, err = env.AskSecret("Password: "); err != nil {
			return err
		}
	}
	if withUser {
		fmt.Fprintf(env.Stdout, "APOP %s ", o.user)
	}
	_, err = fmt.Fprintln(env.Stdout, auth.APOP(args[0], password))
	return err
}
