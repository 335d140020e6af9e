package real

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	day      = 24 * time.Hour
	japanese = "領収書"
	trash    = "Trash"
)

var dovecotFolders = []string{"INBOX", "Sent", "Archive.2019", trash, japanese}

// subscribed lacks a folder: a list that holds all of them proves nothing.
var subscribed = []string{"INBOX", "Sent", "Archive.2019", japanese}

// A letter is a message that the test has made.
type letter struct {
	folder  string
	subject string // no other has it
	text    string
	age     time.Duration
}

// old reports whether "rmoldmail 10" takes the letter.
func (l letter) old() bool { return l.age > 11*day }

// letters returns a folder's letters: four by four too old, just not too old as
// find counts, too old, and of today.
func letters(folder string) []letter {
	var all []letter
	for i := range 24 {
		l := letter{folder: folder, subject: fmt.Sprintf("%s-%02d", imapName(folder), i)}
		l.text = fmt.Sprintf("From: hanako@example.jp\nTo: hoge@example.jp\nSubject: %s\n"+
			"Content-Type: text/plain; charset=UTF-8\n\n.\nFrom 領収書\n%s", l.subject,
			strings.Repeat("拝啓、"+l.subject+"\n", 1+i*7))
		switch i / 4 % 4 {
		case 0, 2:
			l.age = 20 * day
		case 1:
			l.age = 11*day - time.Hour
		}
		all = append(all, l)
	}
	return all
}

// imapName returns the folder's name in modified UTF-7.
func imapName(folder string) string {
	if folder == japanese {
		return "&mBhTzmb4-"
	}
	return folder
}

// TestDovecotMaildir proves that Dovecot does not mind rmoldmail: in a Maildir
// that it has filled and serves, exactly the old messages are gone afterwards,
// for doveadm, for a mail program that logs in, and for one that had the folder
// open meanwhile. The other messages keep their contents, flags and UIDs, the
// folders their UIDVALIDITY, the user his subscriptions, though all of Dovecot's
// own files are old; Dovecot complains of nothing; and its quota is right, but
// for Trash, which Dovecot counts and Maildir++ does not.
func TestDovecotMaildir(t *testing.T) {
	d := startDovecot(t, dovecotConfig{
		protocols: []string{"imap"},
		users:     []string{"hanako", "page", "all", "ignore"},
		extra: `mail_plugins = quota
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=1G:messages=10000
  quota_vsizes = no
}
`,
	})
	rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
	home := d.home("hanako")

	all := fill(d, "hanako")
	d.doveadm("quota", "recalc", "-u", "hanako")
	known := doveadmView(d, "hanako")
	shown := imapView(d, "hanako")
	checkLetters(t, "doveadm", known, all)
	checkLetters(t, "imap", shown, all)
	open := dialIMAP(t, d.ports["imap"], "hanako", dovecotPassword)
	open.do("SELECT INBOX")
	files := messageFiles(t, home)
	checkNewAndCur(t, files, all)
	age(t, home, files, all)
	for _, user := range []string{"page", "all", "ignore"} {
		silently(t, "cp", "-a", filepath.Join(home, "Maildir"), d.home(user))
	}
	before := tree(t, home)
	used := readQuota(t, home)
	checkUsage(d, "hanako", used)
	gone, goneTrash := sumOld(t, files, all)

	silently(t, rmoldmail, "10", home)

	for _, l := range all {
		if l.old() {
			delete(before, files[l.subject])
			delete(known.messages, l.subject)
			delete(shown.messages, l.subject)
		}
	}
	after := tree(t, home)
	delete(before, quotaFile(home))
	delete(after, quotaFile(home))
	compare(t, "files", after, before)
	checkOpenInbox(t, open, shown)
	compareViews(t, "doveadm", doveadmView(d, "hanako"), known)
	compareViews(t, "imap", imapView(d, "hanako"), shown)

	// By now Dovecot has seen the messages vanish: it must not have booked
	// them once more.
	booked := readQuota(t, home)
	if want := used.minus(gone).minus(goneTrash); booked != want {
		t.Errorf("quota after rmoldmail: %v, want %v", booked, want)
	}
	checkUsage(d, "hanako", booked)
	d.doveadm("quota", "recalc", "-u", "hanako")
	if right := readQuota(t, home); right != booked {
		t.Errorf("quota as Dovecot calculates it: %v, after rmoldmail %v", right, booked)
	}
	checkUsage(d, "hanako", booked)
	t.Logf("quota: %v; after rmoldmail and calculated anew %v", used, booked)
	t.Logf("removed: %v; in Trash %v, which only Dovecot counts", gone, goneTrash)

	before = tree(t, home)
	silently(t, rmoldmail, "10", home)
	compare(t, "files, second run", tree(t, home), before)

	checkNewMessage(t, d)
	checkTrashIgnored(t, d, rmoldmail, gone)
	compareViews(t, "doveadm, of the copy", doveadmView(d, "ignore"), known)
	if s := d.complaints(); s != "" {
		t.Errorf("dovecot complains:\n%s", s)
	}
	comparePagesFind(t, d, rmoldmail, known)
}

// checkLetters compares what the server reads out with what it was given.
func checkLetters(t *testing.T, what string, v view, all []letter) {
	t.Helper()
	got, want := make(map[string]message), make(map[string]message)
	for subject, m := range v.messages {
		got[subject] = message{folder: m.folder, text: m.text}
	}
	for _, l := range all {
		want[l.subject] = message{folder: l.folder, text: l.text}
	}
	compare(t, what, got, want)
}

// checkNewAndCur sees to it that there is old and young mail in new and in cur.
func checkNewAndCur(t *testing.T, files map[string]string, all []letter) {
	t.Helper()
	places := make(map[string]int)
	for _, l := range all {
		places[fmt.Sprintf("%s, old %v", filepath.Base(filepath.Dir(files[l.subject])), l.old())]++
	}
	if len(places) != 4 {
		t.Errorf("messages lie only in %v", places)
	}
}

// checkOpenInbox asks the mail program that had INBOX open all the time.
func checkOpenInbox(t *testing.T, c *imapClient, want view) {
	t.Helper()
	expunged := 0
	for _, response := range c.do("NOOP") {
		if strings.HasSuffix(response, " EXPUNGE") {
			expunged++
		}
	}
	got := make(map[string]message)
	c.addMessages(got, "INBOX")
	inbox := maps.Clone(want.messages)
	maps.DeleteFunc(inbox, func(_ string, m message) bool { return m.folder != "INBOX" })
	compare(t, "open INBOX", got, inbox)
	if want := len(letters("INBOX")) - len(inbox); expunged != want {
		t.Errorf("open INBOX: %d messages expunged, want %d", expunged, want)
	}
	c.do("LOGOUT")
}

// checkNewMessage sees whether a message that comes afterwards gets the next UID.
func checkNewMessage(t *testing.T, d *dovecot) {
	next := func() string {
		return d.doveadmRows("mailbox", "status", "-u", "hanako", "uidnext", "INBOX")[0]["uidnext"]
	}
	uid := next()
	d.deliver("hanako", "INBOX", "Subject: new\n\nnew\n")
	rows := d.doveadmRows("fetch", "-u", "hanako", "uid body", "mailbox", "INBOX", "subject", "new")
	if len(rows) != 1 || rows[0]["uid"] != uid || rows[0]["body"] != "new\n" {
		t.Errorf("new message: %q, want uid %s", rows, uid)
	}
}

// checkTrashIgnored sees whether the quota is right without more ado where
// Dovecot is told not to count Trash, as Courier and vpopmail do not.
func checkTrashIgnored(t *testing.T, d *dovecot, rmoldmail string, gone quota) {
	home := d.home("ignore")
	recalc := func() quota {
		d.doveadm("-o", "plugin/quota_rule2=Trash:ignore", "quota", "recalc", "-u", "ignore")
		return readQuota(t, home)
	}
	used := recalc()
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, []byte("QUOTA_TRASH=no\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	silently(t, "env", "KOWAZA_CONF="+conf, rmoldmail, "10", home)
	booked := readQuota(t, home)
	if want := used.minus(gone); booked != want {
		t.Errorf("quota after rmoldmail: %v, want %v", booked, want)
	}
	if right := recalc(); booked != right {
		t.Errorf("quota as Dovecot calculates it: %v, want %v", right, booked)
	}
}

// comparePagesFind notes what the page's command does to the same Maildir, and
// sees whether rmoldmail -a removes the same files.
func comparePagesFind(t *testing.T, d *dovecot, rmoldmail string, known view) {
	home := d.home("page")
	before := tree(t, home)
	page := exec.Command("sh", "-c", `find "$dir/Maildir/" -type f -mtime +10 -exec rm -f {} ';'`)
	page.Env = append(os.Environ(), "dir="+home)
	if out, err := page.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("find: %v\n%s", err, out)
	}
	silently(t, rmoldmail, "-a", "10", d.home("all"))
	after := tree(t, home)
	if got, want := paths(tree(t, d.home("all")), d.home("all")), paths(after, home); !slices.Equal(got, want) {
		t.Errorf("rmoldmail -a leaves %q, find %q", got, want)
	}

	taken := make(map[string]int)
	for path := range before {
		if _, ok := after[path]; !ok {
			taken[kind(path)]++
		}
	}
	left := make(map[string]int)
	for path, stat := range after {
		if !strings.HasPrefix(stat, "d") {
			left[kind(path)]++
		}
	}
	t.Logf("the page's find took %v", taken)
	t.Logf("the page's find left %v", left)
	// A name is all that tells this user from the one whose view is known.
	now := doveadmView(d, "page")
	for _, name := range slices.Sorted(maps.Keys(known.folders)) {
		t.Logf("the page's find: %s: %q, was %q", name, now.folders[name], known.folders[name])
	}
	uids, flags := 0, 0
	for subject, m := range known.messages {
		if now.messages[subject].uid != m.uid {
			uids++
		}
		if now.messages[subject].flags != m.flags {
			flags++
		}
	}
	t.Logf("the page's find: of %d messages that stay %d have another uid, %d other flags", len(known.messages), uids, flags)
}

// fill makes folders and letters in all the ways in which mail comes into a
// Maildir, and returns the letters.
func fill(d *dovecot, user string) []letter {
	d.t.Helper()
	for _, folder := range dovecotFolders[1:] {
		d.doveadm("mailbox", "create", "-u", user, folder)
	}
	d.doveadm(append([]string{"mailbox", "subscribe", "-u", user}, subscribed...)...)
	client := dialIMAP(d.t, d.ports["imap"], user, dovecotPassword)
	var all []letter
	for _, folder := range dovecotFolders {
		ls := letters(folder)
		store := func(ls []letter) {
			for i, l := range ls {
				switch i % 4 {
				case 0:
					d.save(user, folder, l.text)
				case 1:
					d.deliver(user, folder, l.text)
				case 2:
					client.append(imapName(folder), l.text)
				case 3:
					d.qmailLocal(user, folder, l)
				}
			}
		}
		store(ls[:16])
		// Moves all of them from new to cur; a keyword makes dovecot-keywords.
		client.do("SELECT %s", imapName(folder))
		client.do(`STORE 1:6 +FLAGS (\Seen)`)
		client.do(`STORE 5:10 +FLAGS (\Flagged $Work)`)
		client.do("CLOSE")
		store(ls[16:])
		all = append(all, ls...)
	}
	client.do("LOGOUT")
	// A delivery under way: rmoldmail knows by the ctime that it is not stale.
	d.writeMail(filepath.Join(d.home(user), "Maildir/tmp/1234567890.1.mail"), "Subject: unfinished\n")
	return all
}

// qmailLocal delivers as qmail-local does, behind Dovecot's back and without a
// size in the name.
func (d *dovecot) qmailLocal(user, folder string, l letter) {
	d.t.Helper()
	dir := filepath.Join(d.home(user), "Maildir")
	if folder != "INBOX" {
		dir = filepath.Join(dir, "."+imapName(folder))
	}
	name := fmt.Sprintf("%d.%d.mail", time.Now().Unix(), time.Now().Nanosecond())
	path := filepath.Join(dir, "tmp", name)
	d.writeMail(path, l.text)
	if err := os.Rename(path, filepath.Join(dir, "new", name)); err != nil {
		d.t.Fatal(err)
	}
}

// writeMail writes a file that belongs to the mail users.
func (d *dovecot) writeMail(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chown(path, d.uid, d.uid); err != nil {
		d.t.Fatal(err)
	}
}

// isMessage tells a message from the server's own files.
func isMessage(path string) bool {
	dir := filepath.Base(filepath.Dir(path))
	return dir == "cur" || dir == "new"
}

var subjectField = regexp.MustCompile(`(?m)^Subject: (.*)$`)

// subject returns the subject of a message.
func subject(text string) string {
	m := subjectField.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// messageFiles returns the paths of the messages by their subjects.
func messageFiles(t *testing.T, home string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for path := range tree(t, home) {
		if !isMessage(path) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[subject(string(text))] = path
	}
	return files
}

// age gives the letters their age, and makes all else in the Maildir old.
func age(t *testing.T, home string, files map[string]string, all []letter) {
	t.Helper()
	ages := make(map[string]time.Duration)
	for _, l := range all {
		path, ok := files[l.subject]
		if !ok {
			t.Fatalf("%s: no file", l.subject)
		}
		ages[path] = l.age
	}
	for path, stat := range tree(t, home) {
		age, ok := ages[path]
		if !ok {
			age = 20 * day
		}
		if age == 0 || strings.HasPrefix(stat, "d") {
			continue
		}
		mtime := time.Now().Add(-age)
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
}

// tree returns what there is to know about each file below a directory; of a
// directory no times, they belong to what goes on in it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		files[path] = fmt.Sprintf("%v %d %d", info.Mode(), st.Uid, st.Gid)
		if !info.IsDir() {
			files[path] += fmt.Sprintf(" %d %d %v %v", st.Ino, st.Size, st.Mtim, st.Ctim)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// paths returns the sorted paths of a tree, relative to its directory.
func paths(tree map[string]string, dir string) []string {
	var all []string
	for path := range tree {
		all = append(all, strings.TrimPrefix(path, dir))
	}
	slices.Sort(all)
	return all
}

// kind returns what sort of file a path of a Maildir is.
func kind(path string) string {
	if isMessage(path) {
		return "message"
	}
	if filepath.Base(filepath.Dir(path)) == "tmp" {
		return "delivery in tmp"
	}
	return filepath.Base(path)
}

// A quota is a number of bytes and of messages.
type quota struct{ bytes, messages int64 }

func (q quota) minus(r quota) quota { return quota{q.bytes - r.bytes, q.messages - r.messages} }

func (q quota) String() string { return fmt.Sprintf("%d bytes in %d messages", q.bytes, q.messages) }

// quotaFile returns where the quota of a Maildir is booked.
func quotaFile(home string) string { return filepath.Join(home, "Maildir/maildirsize") }

// readQuota adds up the lines of maildirsize; doveadm tells kilobytes only.
func readQuota(t *testing.T, home string) quota {
	t.Helper()
	text, err := os.ReadFile(quotaFile(home))
	if err != nil {
		t.Fatal(err)
	}
	// A longer file Dovecot calculates anew, and nothing is proved.
	if len(text) >= 5120 {
		t.Fatalf("maildirsize has %d bytes", len(text))
	}
	var sum quota
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range lines[1:] { // the first is the limit
		var q quota
		if _, err := fmt.Sscanf(line, "%d %d", &q.bytes, &q.messages); err != nil {
			t.Fatalf("maildirsize: %q: %v", line, err)
		}
		sum.bytes += q.bytes
		sum.messages += q.messages
	}
	return sum
}

// checkUsage compares what doveadm tells with a quota; it rounds up.
func checkUsage(d *dovecot, user string, q quota) {
	d.t.Helper()
	got := make(map[string]string)
	for _, row := range d.doveadmRows("quota", "get", "-u", user) {
		got[row["type"]] = row["value"]
	}
	want := map[string]string{
		"STORAGE": strconv.FormatInt((q.bytes+1023)/1024, 10),
		"MESSAGE": strconv.FormatInt(q.messages, 10),
	}
	compare(d.t, "doveadm quota get", got, want)
}

// sumOld returns the sum of the old letters, and that of those in Trash apart.
func sumOld(t *testing.T, files map[string]string, all []letter) (others, inTrash quota) {
	t.Helper()
	for _, l := range all {
		if !l.old() {
			continue
		}
		info, err := os.Stat(files[l.subject])
		if err != nil {
			t.Fatal(err)
		}
		sum := &others
		if l.folder == trash {
			sum = &inTrash
		}
		sum.bytes += info.Size()
		sum.messages++
	}
	return others, inTrash
}

// A message is what a server tells about one.
type message struct{ folder, uid, flags, guid, text string }

// String makes the differences of messages fit on a line.
func (m message) String() string {
	return fmt.Sprintf("%s uid %s (%s) %s, %d bytes %08x", m.folder, m.uid, m.flags, m.guid,
		len(m.text), crc32.ChecksumIEEE([]byte(m.text)))
}

// A view is what a server tells about a user's mail.
type view struct {
	folders  map[string]string  // what must not change, by folder; the lists of folders, too
	messages map[string]message // by subject
}

// doveadmView asks doveadm.
func doveadmView(d *dovecot, user string) view {
	d.t.Helper()
	v := view{make(map[string]string), make(map[string]message)}
	v.folders["(all)"] = sorted(strings.Fields(d.doveadm("mailbox", "list", "-u", user)))
	v.folders["(subscriptions)"] = sorted(strings.Fields(d.doveadm("mailbox", "list", "-u", user, "-s")))
	for _, row := range d.doveadmRows("mailbox", "status", "-u", user, "uidvalidity uidnext guid", "*") {
		v.folders[row["mailbox"]] = fmt.Sprintf("uidvalidity %s, uidnext %s, guid %s", row["uidvalidity"], row["uidnext"], row["guid"])
	}
	for _, row := range d.doveadmRows("fetch", "-u", user, "mailbox uid guid flags text", "all") {
		v.messages[subject(row["text"])] = message{
			folder: row["mailbox"],
			uid:    row["uid"],
			flags:  lasting(strings.Fields(row["flags"])),
			guid:   row["guid"],
			text:   row["text"],
		}
	}
	return v
}

// marked is what LIST tells of a folder with new mail, or of one without, if it
// happens to know.
var marked = regexp.MustCompile(`(?i) \\(Un)?Marked`)

// imapView asks as a mail program does.
func imapView(d *dovecot, user string) view {
	d.t.Helper()
	c := dialIMAP(d.t, d.ports["imap"], user, dovecotPassword)
	v := view{make(map[string]string), make(map[string]message)}
	list := c.do(`LIST "" *`)
	for i := range list {
		list[i] = marked.ReplaceAllString(list[i], "")
	}
	v.folders["(all)"] = sorted(list)
	v.folders["(subscriptions)"] = sorted(c.do(`LSUB "" *`))
	for _, folder := range dovecotFolders {
		v.folders[folder] = sorted(c.do("STATUS %s (UIDNEXT UIDVALIDITY)", imapName(folder)))
		c.do("EXAMINE %s", imapName(folder)) // unlike SELECT it moves nothing to cur
		c.addMessages(v.messages, folder)
	}
	c.do("LOGOUT")
	return v
}

// addMessages reads all messages of the selected folder.
func (c *imapClient) addMessages(messages map[string]message, folder string) {
	c.t.Helper()
	for _, m := range c.messages() {
		messages[subject(m.text)] = message{
			folder: folder,
			uid:    strconv.Itoa(m.uid),
			flags:  lasting(m.flags),
			text:   m.text,
		}
	}
}

// sorted returns what has no order of its own as one string.
func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }

// compareViews reports what has changed for a user.
func compareViews(t *testing.T, what string, got, want view) {
	t.Helper()
	compare(t, what, got.folders, want.folders)
	compare(t, what, got.messages, want.messages)
}

// lasting returns the flags but \Recent, which is the first session's to see.
func lasting(flags []string) string {
	return sorted(slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` }))
}

// compare reports what differs.
func compare[V comparable](t *testing.T, what string, got, want map[string]V) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[key]; !ok {
			t.Errorf("%s: %s is missing", what, key)
		} else if g != want[key] {
			t.Errorf("%s: %s: %v, want %v", what, key, g, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s should not be there", what, key)
		}
	}
}
