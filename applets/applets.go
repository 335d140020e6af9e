// Package applets holds the commands of the kowaza binary, a file each, and how a
// name finds its command.
package applets

import (
	"embed"
	"path"
	"strings"

	"kowaza/internal/cli"
)

// All lists the applets, in the order of --list, symlinks.txt and docs/differences.md.
var All = []*cli.Applet{rmoldmail, rmmailVirtual, qqclean, mkdigest, smtpauthstr, jmailsend, mailtalk, mailtrip, mailtest, mailquotacheck, mailmatch, mailreply, qmHandle}

// find returns the applet for a command name as the shell gives it, with or
// without a directory and the suffix that the script had; nil if there is none.
func find(name string) *cli.Applet {
	name = path.Base(name)
	for _, suffix := range []string{".pl", ".sh"} {
		if s, ok := strings.CutSuffix(name, suffix); ok {
			name = s
			break
		}
	}
	for _, a := range All {
		if a.Name == name {
			return a
		}
	}
	if name == kowaza.Name {
		return kowaza
	}
	return nil
}

// Main runs the applet that argv[0] names and returns the exit status.
func Main(env *cli.Env, argv []string) int {
	env.Japanese = japaneseHelp
	if len(argv) == 0 {
		argv = []string{kowaza.Name}
	}
	if a := find(argv[0]); a != nil {
		return cli.Run(a, env, argv)
	}
	return cli.Run(unknown, env, argv)
}

// unknown is what a link of another name runs.
var unknown = &cli.Applet{Name: kowaza.Name, Help: kowaza.Help, Run: func(env *cli.Env, argv []string) error {
	env.Warn("%s: no such applet", path.Base(argv[0]))
	return cli.Exit(cli.StatusUnknown)
}}

// japanese holds the help texts in Japanese, in UTF-8; the English ones stand
// in the applets' own files.
//
//go:embed help/ja/*.txt
var japanese embed.FS

func japaneseHelp(page string) string {
	text, err := japanese.ReadFile("help/ja/" + page + ".txt")
	if err != nil {
		return ""
	}
	return string(text)
}
