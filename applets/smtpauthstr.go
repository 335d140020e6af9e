package applets

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/auth"
	"kowaza/internal/cli"
	"kowaza/internal/escape"
)

var smtpauthstr = &cli.Applet{
	Name: "smtpauthstr",
	Help: `usage: smtpauthstr [-h] [-c CHALLENGE | -l | -z AUTHZID] USERID [PASSWD]
Print the string with which a mail client answers AUTH PLAIN.

Without PASSWD it asks for the password.

  -c, --cram-md5 CHALLENGE  the answer to AUTH CRAM-MD5; the challenge in
                            base64, as the server sends it
  -d, --decode STRING       show what such a string holds, the password too;
                            no operands
  -h, --help                show this help
  -l, --login               the two answers to AUTH LOGIN, each on a line
      --version             print the version
  -z, --authzid AUTHZID     act for another user than USERID

Example: smtpauthstr hanako passwd
`,
	Options: func(set *getopt.Set) { new(smtpauthstrOptions).declare(set) },
	Run:     runSmtpauthstr,
	Secret:  true,
}

type smtpauthstrOptions struct {
	challenge, str, authzid string
	login                   bool
}

func (o *smtpauthstrOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.challenge, "cram-md5", 'c')
	set.FlagLong(&o.str, "decode", 'd')
	set.FlagLong(&o.login, "login", 'l')
	set.FlagLong(&o.authzid, "authzid", 'z')
}

func runSmtpauthstr(env *cli.Env, argv []string) error {
	var o smtpauthstrOptions
	set := cli.NewSet(argv, o.declare)
	args, err := env.Parse(set, argv, 0, 2)
	if err != nil {
		return err
	}
	modes := 0
	for _, name := range []string{"cram-md5", "decode", "login", "authzid"} {
		if set.IsSet(name) {
			modes++
		}
	}
	switch {
	case modes > 1:
		return cli.Usagef("-c, -d, -l and -z exclude each other")
	case set.IsSet("decode") && len(args) > 0:
		return cli.Usagef("too many operands")
	case set.IsSet("decode"):
		return decodeAuth(env, o.str)
	case len(args) == 0:
		return cli.Usagef("too few operands")
	}
	var nonce []byte
	if set.IsSet("cram-md5") {
		if nonce, err = decodeBase64("--cram-md5", o.challenge); err != nil {
			return err
		}
	}
	user := args[0]
	var password string
	if len(args) == 2 {
		password = args[1]
	} else if password, err = env.AskSecret("Password: "); err != nil {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	switch {
	case o.login: // no RFC; what servers ask for by "Username:" and "Password:"
		_, err = fmt.Fprintf(env.Stdout, "%s\n%s\n", encode([]byte(user)), encode([]byte(password)))
	case set.IsSet("cram-md5"):
		_, err = fmt.Fprintln(env.Stdout, encode(auth.CRAMMD5(nonce, user, password)))
	default: // the page's script names the user twice
		if !set.IsSet("authzid") {
			o.authzid = user
		}
		_, err = fmt.Fprintln(env.Stdout, encode(auth.Plain(o.authzid, user, password)))
	}
	return err
}

func decodeBase64(what, s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	// The library skips line ends; a server's string has none.
	if err != nil || s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, cli.Usagef("%s: not base64", what) // it may hold a password
	}
	return b, nil
}

// decodeAuth shows the fields of a string that smtpauthstr could have printed.
func decodeAuth(env *cli.Env, s string) error {
	b, err := decodeBase64("--decode", s)
	if err != nil {
		return err
	}
	names, fields := []string{"text"}, []string{string(b)}
	if plain := strings.Split(string(b), "\x00"); len(plain) == 3 {
		names, fields = []string{"authzid", "userid", "password"}, plain
	} else if user, digest, ok := cutLast(string(b), " "); ok && isDigest(digest) {
		names, fields = []string{"userid", "digest"}, []string{user, digest}
	}
	for i, name := range names {
		fmt.Fprintf(env.Stdout, "%s: %s\n", name, escape.String(fields[i]))
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func isDigest(s string) bool {
	return len(s) == 2*md5.Size && strings.Trim(s, "0123456789abcdef") == ""
}
