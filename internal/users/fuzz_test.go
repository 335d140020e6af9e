package users

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzLogin proves of any line that getent or /etc/passwd may hold: an account
// that is read from it has a name that may be asked for again and numbers as
// they stand there; what has too few fields, or a name of NIS, is nobody.
func FuzzLogin(f *testing.F) {
	for _, s := range []string{
		"hoge:x:1000:1000:Hoge:/home/hoge:/bin/sh", "+nis:x:0:0::/:", "+::::::", "a:x:-1:0::/:", "a:x:4294967295:4294967296::/:", "a:x:0x10:0::/:", "a:x:1:1::/home",
		":x:0:0::/:", "-a:x:0:0::/:", "a/b:x:0:0::/:", "a:x: 1:1::/:", "a:x:1:1::rel:/bin/sh:more", "a\x00:x:1:1::/:", "#a:x:1:1::/:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		l, ok := parseLogin(line)
		fields := strings.Split(line, ":")
		if !ok {
			return
		}
		if ValidName(l.Name) != nil || l.Name != fields[0] || l.Name[0] == '+' || len(fields) < 7 {
			t.Fatalf("%q is %+v", line, l)
		}
		uid, err1 := strconv.ParseUint(fields[2], 10, 32)
		gid, err2 := strconv.ParseUint(fields[3], 10, 32)
		if err1 != nil || err2 != nil || uint64(l.UID) != uid || uint64(l.GID) != gid || l.Home != fields[5] {
			t.Fatalf("%q is %+v", line, l)
		}
		if home, err := l.AbsHome(); (err == nil) != strings.HasPrefix(l.Home, "/") || err == nil && home != l.Home {
			t.Fatalf("%q has the home %q, %v", line, home, err)
		}
	})
}
