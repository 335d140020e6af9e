package users

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A host is a system with users/assign and homes, in a directory of its own.
type host struct {
	t    *testing.T
	root string
	list VirtualList
}

// newHost makes one whose password file has logins, "name:home" each.
func newHost(t *testing.T, getent string, logins ...string) *host {
	t.Helper()
	passwd := "root:x:0:0::/root:/bin/sh\n"
	h := &host{t: t}
	// The homes of logins lie below h.root, too.
	h.list.Passwd = system(t, passwd, getent)
	h.root = h.list.Passwd.Root
	for i, login := range logins {
		name, home, _ := strings.Cut(login, ":")
		passwd += fmt.Sprintf("%s:x:%d:100::%s:/bin/sh\n", name, 1000+i, h.path(home))
	}
	h.write("/etc/passwd", passwd)
	h.list.VMDir = h.path("/home")
	h.list.Assign = h.path("/assign")
	return h
}

// path returns where p is on the host; a relative path stays as it is.
func (h *host) path(p string) string {
	if !path.IsAbs(p) {
		return p
	}
	return h.root + p
}

func (h *host) write(name, text string) {
	h.t.Helper()
	file := h.path(name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// each runs the list over lines of users/assign, in which @ is the host's root,
// and returns the directories it gave, in their order, and what failed. @ is
// the root there, too.
func (h *host) each(lines ...string) (homes, fails []string) {
	h.t.Helper()
	h.write("/assign", strings.ReplaceAll(strings.Join(lines, "\n")+"\n.\n", "@", h.root))
	short := func(s string) string { return strings.ReplaceAll(s, h.root, "@") }
	err := h.list.Each(func(v Virtual) bool {
		homes = append(homes, short(v.Home))
		return true
	}, func(err error) { fails = append(fails, short(err.Error())) })
	if err != nil {
		h.t.Errorf("Each: %v", err)
	}
	return homes, fails
}

// want compares what each returned.
func (h *host) want(gotHomes, gotFails, homes, fails []string) {
	h.t.Helper()
	if !slices.Equal(gotHomes, homes) {
		h.t.Errorf("homes\ngot  %q\nwant %q", gotHomes, homes)
	}
	if !slices.Equal(gotFails, fails) {
		h.t.Errorf("failures\ngot  %q\nwant %q", gotFails, fails)
	}
}

// TestVirtualWho proves whom VMDIR and VUSER take, that each directory comes
// once, in the order of the file, and that the first line for a local part is
// the one that counts, ours or not.
func TestVirtualWho(t *testing.T) {
	lines := []string{
		"=a:pop:1:2:@/home/a:::",
		"=b:other:1:2:@/home/b:::",
		"=c:pop:1:2:@/var/c:::",
		"=A:pop:1:2:@/home/a2:::", // a was there
		"=d:pop:1:2:@/home//x/../d/:::",
		"=e:pop:1:2:@/home/a:::", // the directory was there
		"=f:pop:1:2:@/home/../var/f:::",
		"=g:pop:1:2:@/home:::",
		"=h:pop:1:2:@/home2/h:::",
		"=i:elsewhere:1:2:/nonexistent:::",
		"=i:pop:1:2:@/home/i:::", // i was there
		"+a-:pop:1:2:@/home/plus:-::",
		"=j:pop:1:2:home/j:::",
		"=k:other:1:2:home/k:::",
		"=l:pop:1:2:@/home/..x:::",
	}
	relative := "@/assign:13: home/j: home directory is not an absolute path"
	for _, test := range []struct {
		vmdir, vuser string
		homes, fails []string
	}{
		{"/home", "", []string{"@/home/a", "@/home/b", "@/home/d", "@/home/..x"},
			[]string{relative, "@/assign:14: home/k: home directory is not an absolute path"}},
		{"/home", "pop", []string{"@/home/a", "@/home/d", "@/home/..x"}, []string{relative}},
		{"", "pop", []string{"@/home/a", "@/var/c", "@/home/d", "@/var/f", "@/home", "@/home2/h", "@/home/..x"}, []string{relative}},
		{"", "other", []string{"@/home/b"}, []string{"@/assign:14: home/k: home directory is not an absolute path"}},
		{"/home/a", "pop", nil, []string{relative}},
		{"/", "nobody", nil, nil},
	} {
		h := newHost(t, "")
		h.list.VUser = test.vuser
		h.list.VMDir = ""
		if test.vmdir != "" {
			h.list.VMDir = strings.TrimSuffix(h.path(test.vmdir), "/")
		}
		homes, fails := h.each(lines...)
		h.want(homes, fails, test.homes, test.fails)
	}
	if !below("/x", "/") || below("/", "/") || below("/ab", "/a") || below("/a", "/a") || !below("/a/b", "/a") {
		t.Error("below is wrong")
	}
}

// TestLoginByAccount proves that the home of the login in field 2 is nobody's
// virtual home, however the path is written. This is what qmail-pw2u writes.
func TestLoginByAccount(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe", "ann:/home//ann/.")
	homes, fails := h.each("=x1:joe:507:100:@/home/joe:::", "+joe-:joe:507:100:@/home/joe:-::",
		"=x2:ann:507:100:@/home/ann/:::", "=x3:joe:507:100:@/home/joe/sub:::")
	h.want(homes, fails, []string{"@/home/joe/sub"}, nil)
}

// TestLoginByLocal proves the same of the login that is called like the local
// part, whose letters qmail folds.
func TestLoginByLocal(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe", "ann:/home/ann")
	homes, fails := h.each("=joe:pop:507:100:@/home/joe:::", "=ANN:pop:1:2:@/home/ann:::", "=foo:pop:1:2:@/home/foo:::")
	h.want(homes, fails, []string{"@/home/foo"}, nil)
}

// TestLoginByLink proves that a login's home is found behind links, too, and
// that two directories are not taken for one because neither is there.
func TestLoginByLink(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe", "ann:/usr/home/ann", "gone:/gone")
	for _, dir := range []string{"/home/joe", "/usr/home/ann", "/home/foo"} {
		if err := os.MkdirAll(h.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("joe", h.path("/home/j"))
	os.Symlink(h.path("/usr/home"), h.path("/home/usr"))
	homes, fails := h.each("=x1:joe:1:2:@/home/j:::", "=ann:x2:1:2:@/home/usr/ann:::",
		"=foo:joe:1:2:@/home/foo:::", "=g:gone:1:2:@/home/g:::")
	h.want(homes, fails, []string{"@/home/foo", "@/home/g"}, nil)
}

// TestLoginFirst proves that of several lines of passwd for one name the first
// counts, as for getpwnam.
func TestLoginFirst(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe", "joe:/home/other")
	homes, fails := h.each("=joe:joe:1:2:@/home/joe:::", "=x:joe:1:2:@/home/other:::")
	h.want(homes, fails, []string{"@/home/other"}, nil)
}

// TestGetentBatch proves that getent is asked for all names of a batch at once,
// each once, and that its answers guard as the file does.
func TestGetentBatch(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe")
	h.script(`echo "$*" >>@/asked
for name; do
	case $name in ldap) echo "ldap:x:1:1::@/home/ldap:/bin/sh" ;; sss) echo "sss:x:1:1::@/home/sss/:/bin/sh" ;; esac
done
exit 2`)
	homes, fails := h.each("=joe:joe:1:2:@/home/joe:::", "=ldap:x:1:2:@/home/ldap:::", "=y:sss:1:2:@/home/sss:::",
		"=foo:sss:1:2:@/home/foo:::", "=-opt:pop:1:2:@/home/opt:::", "=a/b:pop:1:2:@/home/ab:::")
	h.want(homes, fails, []string{"@/home/foo", "@/home/opt", "@/home/ab"}, nil)
	text, err := os.ReadFile(h.path("/asked"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), "\n") != 1 {
		t.Errorf("asked %q", text)
	}
	words := strings.Fields(string(text))
	slices.Sort(words[1:])
	if want := []string{"passwd", "foo", "ldap", "pop", "sss", "x", "y"}; !slices.Equal(words, want) {
		t.Errorf("asked %q; want %q", words, want)
	}
}

// script installs a getent; @ is the root.
func (h *host) script(text string) {
	h.t.Helper()
	h.write("/usr/bin/getent", "#!/bin/sh\n"+strings.ReplaceAll(text, "@", h.root)+"\n")
	if err := os.Chmod(h.path("/usr/bin/getent"), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// TestGetentFails proves that where getent fails, is slow, hangs or talks without
// end, nobody whom it could know is handed on, and that each is told; who is
// known without it is still done.
func TestGetentFails(t *testing.T) {
	defer func(d time.Duration) { getentTime = d }(getentTime)
	for _, test := range []struct{ name, script, why string }{
		{"status 1", "exit 1", "exit status 1"},
		{"status 3", "exit 3", "exit status 3"},
		{"status 3, with an answer", `echo "x:x:1:1::/x:"; exit 3`, "exit status 3"},
		{"killed", "kill -9 $$", "signal: killed"},
		{"hangs", "exec sleep 60", "no answer within 300ms"},
		{"hangs, with a child", "sleep 60 & wait", "no answer within 300ms"},
		{"slow", `for i in 1 2 3 4 5 6 7 8 9; do echo "x:x:1:1::/x:"; sleep 0.2; done; exit 2`, "no answer within 300ms"},
		{"ignores SIGTERM", "trap '' TERM INT HUP; while :; do sleep 1; done", "no answer within 300ms"},
		{"without end", "exec yes 'x:x:1:1::/x:'", "answer too long"},
		// By status 0 it says that it found everybody.
		{"silent", "exit 0", "answer not understood"},
		{"noise", "echo hello", "answer not understood"},
	} {
		t.Run(test.name, func(t *testing.T) {
			getentTime = 10 * time.Minute
			if strings.HasPrefix(test.why, "no answer") {
				getentTime = 300 * time.Millisecond
			}
			h := newHost(t, "", "joe:/home/joe", "pop:/home/pop")
			h.script(test.script)
			begin := time.Now()
			homes, fails := h.each("=joe:joe:1:2:@/home/joe:::", "=pop:pop:1:2:@/home/foo:::",
				"=ldap:pop:1:2:@/home/ldap:::", "=joe2:ldap:1:2:@/home/joe2:::", "=a/b:pop:1:2:@/home/ab:::")
			// No login can be called a/b.
			h.want(homes, fails, []string{"@/home/foo", "@/home/ab"},
				[]string{"@/assign:3: ldap: getent passwd: " + test.why, "@/assign:4: joe2: getent passwd: " + test.why})
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestGetentFullNames proves that the home of a login whom the name service
// calls by a longer name than was asked for is still a login's home.
func TestGetentFullNames(t *testing.T) {
	h := newHost(t, "", "pop:/home/pop")
	h.script(`echo 'EXAMPLE\ldap:*:5:5::@/home/ldap:/bin/sh'; exit 2`)
	homes, fails := h.each("=ldap:pop:1:2:@/home/ldap:::", "=foo:pop:1:2:@/home/foo:::")
	h.want(homes, fails, []string{"@/home/foo"}, nil)
}

// TestLongName proves that a name too long for any login keeps nobody else from
// being looked up.
func TestLongName(t *testing.T) {
	h := newHost(t, "", "pop:/home/pop")
	h.script(`test $# = 2 && test "$2" = foo && exit 2; exit 1`)
	homes, fails := h.each("="+strings.Repeat("x", 50000)+":pop:1:2:@/home/long:::", "=foo:pop:1:2:@/home/foo:::")
	h.want(homes, fails, []string{"@/home/long", "@/home/foo"}, nil)
}

// TestGetentNotRun proves that a getent that cannot be run is a failure, not a
// "no such user"; none at all is.
func TestGetentNotRun(t *testing.T) {
	h := newHost(t, "\x7fELF")
	homes, fails := h.each("=foo:pop:1:2:@/home/foo:::")
	if len(homes) != 0 || len(fails) != 1 {
		t.Errorf("%q, %q", homes, fails)
	}
	h = newHost(t, "")
	homes, fails = h.each("=foo:pop:1:2:@/home/foo:::")
	h.want(homes, fails, []string{"@/home/foo"}, nil)
}

// TestPasswdUnreadable proves that nobody is handed on where the password file
// cannot be read.
func TestPasswdUnreadable(t *testing.T) {
	h := newHost(t, "")
	if err := os.Remove(h.path("/etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.path("/etc/passwd"), 0o755); err != nil {
		t.Fatal(err)
	}
	homes, fails := h.each("=foo:pop:1:2:@/home/foo:::")
	if len(homes) != 0 || len(fails) != 1 || !strings.HasSuffix(fails[0], "is a directory") {
		t.Errorf("%q, %q", homes, fails)
	}
}

// TestGetentLies proves that an answer counts only for the name in its first
// field, whatever else getent says: nobody loses his guard by it.
func TestGetentLies(t *testing.T) {
	for _, script := range []string{
		`echo "joe:x:1:1::/elsewhere:"; exit 2`,
		`echo "joe:x:1:1::/elsewhere:"; echo "joe:x:1:1:::"; exit 2`,
		`for i; do echo "$i:x:1:1::@/home/$i:/bin/sh"; done; exit 0`, // knows everybody
	} {
		h := newHost(t, "", "joe:/home/joe")
		h.script(script)
		homes, fails := h.each("=joe:joe:1:2:@/home/joe:::", "=x:joe:1:2:@/home/joe/.:::", "=foo:pop:1:2:@/home/bar:::")
		h.want(homes, fails, []string{"@/home/bar"}, nil)
	}
	// The first of its answers counts.
	h := newHost(t, "")
	h.script(`echo "ldap:x:1:1::@/home/ldap:"; echo "ldap:x:1:1::/elsewhere:"; exit 2`)
	homes, fails := h.each("=ldap:ldap:1:2:@/home/ldap:::")
	h.want(homes, fails, nil, nil)
}

// TestBatches proves that users beyond one batch are guarded and handed on in
// order like those in it, that getent is asked once a batch, and that a batch for
// which it fails does not stop the next.
func TestBatches(t *testing.T) {
	h := newHost(t, "", "joe:/home/joe")
	const n = 3*batchSize + 17
	var lines, wantHomes []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("=u%d:pop:1:2:@/home/u%d:::", i, i))
		if i%100 == 99 {
			lines = append(lines, fmt.Sprintf("=l%d:joe:1:2:@/home/joe:::", i))
		}
		if i == 2*batchSize {
			lines = append(lines, "=ldap:pop:1:2:@/home/ldap:::")
		}
		wantHomes = append(wantHomes, fmt.Sprintf("@/home/u%d", i))
	}
	h.script(`echo >>@/asked
for name; do [ $name != ldap ] || echo "ldap:x:1:1::@/home/ldap:"; done
exit 2`)
	homes, fails := h.each(lines...)
	h.want(homes, fails, wantHomes, nil)
	if text, _ := os.ReadFile(h.path("/asked")); len(text) != 5 {
		t.Errorf("getent was asked %d times", len(text))
	}

	h.script(`for name; do [ $name != u50 ] || exit 1; done; exit 2`)
	homes, fails = h.each(lines...)
	failed := batchSize - 1 // joe, known without getent, is the last of them; ldap is nobody now
	const next = firstBatch
	if len(homes) != n+1-failed || len(fails) != failed || homes[next] != fmt.Sprintf("@/home/u%d", next+failed) {
		t.Errorf("%d users and %d failures, then %s; want %d and %d", len(homes), len(fails), homes[next], n+1-failed, failed)
	}
}

// TestEnough proves that nothing more is read once user returns false, in a
// batch, between two, and in a domain.
func TestEnough(t *testing.T) {
	h := newHost(t, "")
	var lines []string
	for i := range 2 * batchSize {
		lines = append(lines, fmt.Sprintf("=u%d:pop:1:2:@/home/u%d:::", i, i))
	}
	h.each(append(lines, "broken")...)
	for _, stop := range []int{1, 5, batchSize, batchSize + 1} {
		n := 0
		err := h.list.Each(func(Virtual) bool { n++; return n < stop }, func(err error) { t.Errorf("%d: %v", stop, err) })
		if n != stop || err != nil {
			t.Errorf("%d users after %d, %v", n, stop, err)
		}
	}

	var vpasswd strings.Builder
	for i := range batchSize {
		fmt.Fprintf(&vpasswd, "u%d:x:1:0::@/home/dom/u%d:q\n", i, i)
	}
	h.domain(vpasswd.String() + "broken\n")
	n := 0
	err := h.list.Each(func(Virtual) bool { n++; return false }, func(err error) { t.Errorf("in a domain: %v", err) })
	if n != 1 || err != nil {
		t.Errorf("in a domain: %d users, %v", n, err)
	}
}

// A domain of vpopmail's on the host: @/home/dom, with that vpasswd.
func (h *host) domain(vpasswd string) (homes, fails []string) {
	h.t.Helper()
	if vpasswd != "" {
		h.write("/home/dom/vpasswd", strings.ReplaceAll(vpasswd, "@", h.root))
	}
	return h.each("=before:pop:1:2:@/home/before:::", fmt.Sprintf("+dom-:dom:%d:%d:@/home/dom:-::", os.Getuid(), os.Getgid()),
		"+alias-:dom:4711:4711:@/home/dom/:-::", "=behind:pop:1:2:@/home/behind:::")
}

var outsiders = []string{"@/home/before", "@/home/behind"}

// TestVpasswd proves which lines of a vpasswd are users, that a domain's second
// name brings nobody twice, and that the uid of the line must own the Maildir,
// which no = line asks for.
func TestVpasswd(t *testing.T) {
	h := newHost(t, "", "joe:/home/dom/joe")
	homes, fails := h.domain("a:x:1:0::@/home/dom/a:NOQUOTA\n" +
		"b:x:1:0:gecos:@/home/dom/0/b/:1S,2C:clear:text\n" +
		"A:x:1:0::@/home/dom/c:NOQUOTA\n" + // here letters are not folded, and no name is first
		"a:x:1:0::@/home/dom/d:NOQUOTA\n" +
		"e:x:1:0::@/home/dom/a:NOQUOTA\n" + // the directory was there
		"joe:x:1:0::@/home/dom/joe:NOQUOTA\n" + // a login's
		"f:x:1:0::@/home/dom/f:NOQUOTA") // no newline
	h.want(homes, fails, []string{"@/home/before", "@/home/dom/a", "@/home/dom/0/b", "@/home/dom/c", "@/home/dom/d",
		"@/home/dom/f", "@/home/behind"}, nil)
	h.list.Each(func(v Virtual) bool {
		if in := strings.Contains(v.Home, "/dom/"); v.Checked != in || in && v.UID != uint32(os.Getuid()) {
			t.Errorf("%+v", v)
		}
		return true
	}, func(error) {})

	// No vpasswd: an extension address, and not an error.
	h = newHost(t, "")
	homes, fails = h.domain("")
	h.want(homes, fails, outsiders, nil)
	// VUSER and VMDIR are asked of the + line.
	h = newHost(t, "")
	h.list.VUser = "pop"
	homes, fails = h.domain("a:x:1:0::@/home/dom/a:NOQUOTA\n")
	h.want(homes, fails, outsiders, nil)
	h = newHost(t, "")
	h.list.VMDir = h.path("/home/dom")
	homes, fails = h.domain("a:x:1:0::@/home/dom/a:NOQUOTA\n")
	h.want(homes, fails, nil, nil)
}

// TestVpasswdLines proves that a line which leads out of the domain, or cannot
// be read, is named and nobody's, and that the others are done.
func TestVpasswdLines(t *testing.T) {
	h := newHost(t, "")
	long := strings.Repeat("x", maxLine)
	homes, fails := h.domain("out:x:1:0::@/home/other:q\n" +
		"up:x:1:0::@/home/dom/../other:q\n" +
		"self:x:1:0::@/home/dom:q\n" +
		"dot:x:1:0::@/home/dom/.:q\n" +
		"near:x:1:0::@/home/dom2:q\n" +
		"root:x:1:0::/:q\n" +
		"rel:x:1:0::dom/a:q\n" +
		"none:x:1:0:::q\n" +
		"few:x:1:0::@/home/dom/few\n" +
		":x:1:0::@/home/dom/nameless:q\n" +
		"nul\x00:x:1:0::@/home/dom/nul:q\n" +
		"\n" +
		long + ":x:1:0::@/home/dom/long:q\n" +
		"in:x:1:0::@/home/dom/x/../in:q\n" +
		long + ":x:1:0::@/home/dom/long:q")
	h.want(homes, fails, []string{"@/home/before", "@/home/dom/in", "@/home/behind"}, []string{
		"@/home/dom/vpasswd:1: @/home/other: directory is not below that of its domain",
		"@/home/dom/vpasswd:2: @/home/other: directory is not below that of its domain",
		"@/home/dom/vpasswd:3: @/home/dom: directory is not below that of its domain",
		"@/home/dom/vpasswd:4: @/home/dom: directory is not below that of its domain",
		"@/home/dom/vpasswd:5: @/home/dom2: directory is not below that of its domain",
		"@/home/dom/vpasswd:6: /: directory is not below that of its domain",
		"@/home/dom/vpasswd:7: dom/a: home directory is not an absolute path",
		"@/home/dom/vpasswd:8: home directory is not an absolute path",
		"@/home/dom/vpasswd:9: malformed line: fewer than 6 colons",
		"@/home/dom/vpasswd:10: malformed line: fewer than 6 colons",
		"@/home/dom/vpasswd:11: NUL in line",
		"@/home/dom/vpasswd:12: malformed line: fewer than 6 colons",
		"@/home/dom/vpasswd:13: line too long",
		"@/home/dom/vpasswd:15: line too long",
	})
}

// TestVpasswdFile proves that a vpasswd that is a link, a FIFO, a directory or a
// third user's is an error, holds nobody up, and stops nobody else.
func TestVpasswdFile(t *testing.T) {
	const line = "a:x:1:0::@/home/dom/a:q\n"
	for _, test := range []struct {
		name, why string
		make      func(h *host, file string) error
	}{
		{"link", "too many levels of symbolic links", func(h *host, file string) error {
			h.write("/home/true", strings.ReplaceAll(line, "@", h.root))
			return os.Symlink("../true", file)
		}},
		{"link in the directory", "too many levels of symbolic links", func(h *host, file string) error {
			h.write("/home/dom/true", strings.ReplaceAll(line, "@", h.root))
			return os.Symlink("true", file)
		}},
		{"link to nowhere", "too many levels of symbolic links", func(h *host, file string) error {
			return os.Symlink("nowhere", file)
		}},
		{"FIFO", "not a regular file", func(h *host, file string) error { return syscall.Mkfifo(file, 0o644) }},
		{"directory", "not a regular file", func(h *host, file string) error { return os.Mkdir(file, 0o755) }},
		{"socket", "no such device or address", func(h *host, file string) error {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer syscall.Close(fd)
			return syscall.Bind(fd, &syscall.SockaddrUnix{Name: file})
		}},
		{"another's", "owned neither by root nor by the domain's uid", func(h *host, file string) error {
			h.write("/home/dom/vpasswd", strings.ReplaceAll(line, "@", h.root))
			return os.Chown(file, 65533, -1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if os.Geteuid() != 0 && test.name == "another's" {
				t.Skip("SKIP root: chown needs it")
			}
			h := newHost(t, "")
			if err := os.MkdirAll(h.path("/home/dom"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := test.make(h, h.path("/home/dom/vpasswd")); err != nil {
				t.Fatal(err)
			}
			done := make(chan bool)
			go func() {
				defer close(done)
				homes, fails := h.domain("")
				for i, f := range fails {
					// Each says in its own words which call failed.
					fails[i] = strings.TrimPrefix(strings.TrimPrefix(f, "open "), "read ")
				}
				h.want(homes, fails, outsiders, []string{"@/home/dom/vpasswd: " + test.why})
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Minute):
				t.Fatal("it hangs")
			}
		})
	}
	// Root's own is good.
	if os.Geteuid() == 0 {
		h := newHost(t, "")
		h.write("/home/dom/vpasswd", strings.ReplaceAll(line, "@", h.root))
		homes, fails := h.each("+dom-:dom:4711:4711:@/home/dom:-::")
		h.want(homes, fails, []string{"@/home/dom/a"}, nil)
	}
}

// TestDomainBatch proves that the users of a domain beyond one batch are all
// handed on, between those of the lines before and behind.
func TestDomainBatch(t *testing.T) {
	h := newHost(t, "")
	var text strings.Builder
	want := []string{outsiders[0]}
	for i := range 2*batchSize + 1 {
		fmt.Fprintf(&text, "u%d:x:1:0::@/home/dom/%d/u:q\n", i, i)
		want = append(want, fmt.Sprintf("@/home/dom/%d/u", i))
	}
	homes, fails := h.domain(text.String())
	h.want(homes, fails, append(want, outsiders[1]), nil)
}

// TestAssignUnreadable proves that a list that cannot be read is an error of
// Each, holds nobody up, and hands nobody on.
func TestAssignUnreadable(t *testing.T) {
	h := newHost(t, "")
	each := func() error {
		return h.list.Each(func(Virtual) bool { t.Error("a user"); return true }, func(err error) { t.Error(err) })
	}
	if err := each(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.Mkdir(h.list.Assign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := each(); !errors.Is(err, errNotPlain) {
		t.Errorf("a directory: %v", err)
	}
	if err := errors.Join(os.Remove(h.list.Assign), syscall.Mkfifo(h.list.Assign, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := each(); !errors.Is(err, errNotPlain) {
		t.Errorf("a FIFO: %v", err)
	}
}

// TestVirtualMemory proves that what is kept of a user is some bytes, not his
// line: 100000 users with paths of 1000 bytes each would be 100 MB.
func TestVirtualMemory(t *testing.T) {
	const n = 100_000
	h := newHost(t, "", "joe:/home/joe")
	f, err := os.Create(h.list.Assign)
	if err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 1000)
	for i := range n {
		fmt.Fprintf(f, "=u%d:pop:1:2:%s/home/%d/%s:::\n", i, h.root, i, pad)
	}
	fmt.Fprintln(f, ".")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	users, used := 0, uint64(0)
	err = h.list.Each(func(Virtual) bool {
		if users++; users%(n/5) == 0 {
			if now := heap(); now > before {
				used = max(used, now-before)
			}
		}
		return true
	}, func(err error) { t.Error(err) })
	if err != nil || users != n {
		t.Errorf("%d users, %v", users, err)
	}
	t.Logf("%d bytes a user", used/n)
	if used > n*250 {
		t.Errorf("%d bytes in use for %d users", used, n)
	}
}

// fuzzHost is a host for many runs: no password database but its own.
func fuzzHost(f *testing.F) (root string, list VirtualList) {
	root = f.TempDir()
	if err := os.MkdirAll(root+"/home/dom", 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.Mkdir(root+"/etc", 0o755); err != nil {
		f.Fatal(err)
	}
	err := os.WriteFile(root+"/etc/passwd", []byte("joe:x:1:1::/home/joe:/bin/sh\npop:x:2:2::/home/pop:/bin/sh\n"), 0o644)
	if err != nil {
		f.Fatal(err)
	}
	return root, VirtualList{Assign: root + "/assign", Passwd: Passwd{Root: root}}
}

// FuzzVpasswd proves that no vpasswd yields a directory outside its domain, one
// twice, or one whose owner is not asked for; and that the line named in an
// error is in the file.
func FuzzVpasswd(f *testing.F) {
	root, list := fuzzHost(f)
	dom := root + "/home/dom"
	list.VMDir = root + "/home"
	assign := fmt.Sprintf("+dom-:dom:%d:%d:%s:-::\n=last:pop:1:2:%s/home/last:::\n.\n", os.Getuid(), os.Getgid(), dom, root)
	if err := os.WriteFile(list.Assign, []byte(assign), 0o644); err != nil {
		f.Fatal(err)
	}
	f.Add("a:x:1:0::@/a:NOQUOTA\nb:x:1:0::@/../b:q\n\nc:x:1:0::@/c//:q")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "@", dom) // the fuzzer cannot know the path
		if err := os.WriteFile(dom+"/vpasswd", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(text, "\n")
		met := make(map[string]bool)
		err := list.Each(func(v Virtual) bool {
			if met[v.Home] {
				t.Fatalf("%q: %q twice", text, v.Home)
			}
			met[v.Home] = true
			if v.Home == root+"/home/last" {
				return true
			}
			if !strings.HasPrefix(v.Home, dom+"/") || path.Clean(v.Home) != v.Home || !v.Checked || v.UID != uint32(os.Getuid()) {
				t.Fatalf("%q: %+v", text, v)
			}
			if v.Name == "" || strings.ContainsAny(v.Name+v.Home, ":\n\x00") {
				t.Fatalf("%q: %+v", text, v)
			}
			return true
		}, func(err error) {
			var line *LineError
			if !errors.As(err, &line) || line.File != dom+"/vpasswd" || line.Line < 1 || line.Line > len(lines) {
				t.Fatalf("%q: %v", text, err)
			}
		})
		if err != nil || !met[root+"/home/last"] {
			t.Fatalf("%q: %v, %v", text, met, err)
		}
	})
}

// FuzzVirtualList proves that no users/assign yields a home outside VMDIR, one
// twice, one that is not clean, or a login's own; and that a user it yields is
// one that the reader of the file sees.
func FuzzVirtualList(f *testing.F) {
	_, list := fuzzHost(f)
	f.Add("=a:pop:1:2:/vm/a:::\n=b:pop:1:2:/vm/../b:::\n+c-:pop:1:2:/vm/c:-::\n.\n", "/vm", "")
	f.Add("=joe:joe:1:2:/home/joe:::\n=x:pop:1:2:/home//pop/:::\n=y:pop:1:2:/home/y:::\n", "/home", "")
	f.Add("=a:pop:1:2:/:::\n=b:pop:1:2:///a:::\n.", "/", "pop")
	f.Fuzz(func(t *testing.T, text, vmdir, vuser string) {
		if strings.ContainsRune(vmdir, 0) {
			return
		}
		list.VMDir, list.VUser = path.Clean("/"+vmdir), vuser
		if err := os.WriteFile(list.Assign, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + 1
		met := make(map[string]bool)
		err := list.Each(func(v Virtual) bool {
			rel, err := filepath.Rel(list.VMDir, v.Home) // not how the code does it
			if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
				t.Fatalf("%q, %q: %q is not below", text, list.VMDir, v.Home)
			}
			if met[v.Home] || path.Clean(v.Home) != v.Home || !path.IsAbs(v.Home) {
				t.Fatalf("%q: %q", text, v.Home)
			}
			met[v.Home] = true
			if v.Home == "/home/joe" && v.Name == "joe" || !v.Checked && FoldLocal(v.Name) != v.Name {
				t.Fatalf("%q: %+v", text, v)
			}
			if !v.Checked && !strings.Contains(strings.ToLower(text), "="+strings.ToLower(v.Name)+":") {
				t.Fatalf("%q: nobody is called %q", text, v.Name)
			}
			return true
		}, func(err error) {
			var line *LineError
			if errors.As(err, &line) && (line.Line < 1 || line.Line > lines) {
				t.Fatalf("%q: %v", text, err)
			}
		})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
