package install_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// randomScript is text that might stand in an administrator's script below its
// settings: words of shells and of Perl, quotes that are not closed, bytes of
// any kind, and commands that leave a mark if anybody runs them.
func randomScript(r *rand.Rand, mark string) string {
	words := []string{
		"DIR", "=", "/home", "'", "\"", "`", "$(", ")", "${", "}", "$", "\\", "\n", "\n", "\n", " ", "\t", "#", ";", "&", "|", "<<EOF\n", "EOF\n", "*", "?", "[", "~", "!",
		"export ", "my $", "use strict;", "<?php ", "exit(99);", "DAYS", "21", "-1", "\r", "\x00", "\x1b[2J", "\xff", "ゴミ箱", "\xa5\xb4", "touch " + mark, "$(touch " + mark + ")", "`touch " + mark + "`",
		"%s", "%n", "-n", "--", "eval ", ". ", "source ", strings.Repeat("x", 3000), "JMAIL_X=1\n", "Q=$((1/0))\n", "}\n", "case x in\n", "\n.\n",
	}
	var b strings.Builder
	for range r.IntN(60) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// TestInstallRandom proves of scripts with any text below their settings:
// nothing of them is run; what was set above in plain words is carried over;
// kowaza.conf is one that can be read; the script stays as it was, byte for
// byte; and a second run changes nothing.
func TestInstallRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	trials := 6
	if os.Getenv("KOWAZA_SOAK") != "" {
		trials = 200
	}
	for i := range trials {
		installed(t, func(in *installation) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			mark := filepath.Join(in.t.TempDir(), "ran")
			dir := fmt.Sprintf("/home/pop%d", r.IntN(1000))
			quote := []string{"", "'", "\""}[r.IntN(3)]
			text := "#!/bin/sh\nVMDIR=" + quote + dir + quote + "\n" + randomScript(r, mark)
			in.script("usr/local/bin/rmoldmail", text)
			// Status 1 where something could not be carried over, and was named.
			for _, args := range [][]string{{"-n"}, {}} {
				if status := in.try(args...); status > 1 {
					in.t.Fatalf("%q: status %d\n%q", args, status, text)
				}
			}
			if lines, conf := in.settings(); !slices.Contains(lines, "VMDIR="+dir) && !slices.Contains(lines, "VMDIR="+quote+dir+quote) {
				in.t.Errorf("VMDIR is not carried over\n%q\n%s", text, conf)
			}
			in.text("usr/local/bin/rmoldmail.orig", text)
			before := in.tree(in.root, true)
			if again := in.try(); again > 1 || in.tree(in.root, true) != before {
				in.t.Errorf("a second run: status %d, or something changed\n%q", again, text)
			}
			if _, err := os.Lstat(mark); err == nil {
				in.t.Errorf("a script was run\n%q", text)
			}
		})
	}
}

// try runs kowaza --install and returns its status.
func (in *installation) try(args ...string) int {
	in.t.Helper()
	_, _, status := in.main(args...)
	return status
}
