package applets

import (
	"crypto/md5"
	"fmt"
	"strings"

	"kowaza/internal/cli"

	"github.com/pborman/getopt/v2"
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

// runMkdigest is RFC 1939, section 7: MD5 of the timestamp with its angle
// brackets and the shared secret, in lower-case hex digits.
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
	text := args[0]
	if o.ask {
		password, err := env.AskSecret("Password: ")
		if err != nil {
			return err
		}
		text += password
	}
	if withUser {
		fmt.Fprintf(env.Stdout, "APOP %s ", o.user)
	}
	_, err = fmt.Fprintf(env.Stdout, "%x\n", md5.Sum([]byte(text)))
	return err
}
