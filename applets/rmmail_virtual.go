package applets

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/maildir"
	"kowaza/internal/rules"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var rmmailVirtual = &cli.Applet{
	Name: "rmmail_virtual",
	Help: `usage: rmmail_virtual [-hnvx] [-d N] [-j N] [--shard K/N] [--OPTION...]
Remove old messages from the Maildirs of all virtual users.

  -d, --days N       messages more than N days old go; default: DAYS, or 21
      --by CLOCK     count the age from mtime, saved (since when mail lies here)
                     or name (the time that a message's name begins with)
      --days-in NAME=N
                     N days in this folder; may be repeated
      --except NAME  this folder stays; may be repeated
      --folder NAME  only this folder; may be repeated: INBOX, Trash, Work/2019;
                     * and ? stand for any characters
  -h, --help         show this help
  -j, --jobs N       work on N things at once
      --json         tell of each folder, and of all, in JSON
      --keep-flagged messages with the flag F stay
      --max-size N   then remove the oldest until N bytes are left; K, M, G
  -n, --dry-run      print what would go, remove nothing
      --rules FILE   USER FOLDER DAYS on a line: how long whose mail is kept
      --saved        --by saved
      --seen-only    messages without the flag S stay, and all in new
      --shard K/N    only this host's share of the users, the Kth of N
      --skip USER    leave this user alone; may be repeated
  -v, --verbose      say what was done for each user, and in all
      --version      print the version
  -x, --one-file-system
                     leave alone what is mounted below a Maildir

Virtual users are those of qmail's users/assign whose home lies below VMDIR and
whose account is VUSER, or the directories that match USERS. Settings: VMDIR,
VUSER, USERS, DAYS, MAILDIR, INBOX, RULES, QUOTA_TRASH and QMAIL in
/etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(rmmailVirtualOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"CLOCK": strings.Join(maildir.Clocks, " ")} },
	Run:     runRmmailVirtual,
}

type rmmailVirtualOptions struct {
	maildirOptions
	days, shard string
	skip        words
}

func (o *rmmailVirtualOptions) declare(set *getopt.Set) {
	o.maildirOptions.declare(set)
	set.FlagLong(&o.days, "days", 'd')
	set.FlagLong(&o.shard, "shard", 0)
	set.FlagLong(&o.skip, "skip", 0)
}

func runRmmailVirtual(env *cli.Env, argv []string) error {
	now := env.Now()
	o := rmmailVirtualOptions{maildirOptions: newMaildirOptions()}
	set := cli.NewSet(argv, o.declare)
	o.set = set
	if _, err := env.Parse(set, argv, 0, 0); err != nil {
		return err
	}
	days := -1
	var err error
	if set.IsSet("days") {
		if days, err = cli.Number("--days", o.days, 0, settings.MaxDays); err != nil {
			return err
		}
	}
	share := shard{1, 1}
	if set.IsSet("shard") {
		if share, err = parseShard(o.shard); err != nil {
			return err
		}
	}
	opt, err := o.options(now)
	if err != nil {
		return err
	}
	s, err := env.Settings()
	if err != nil {
		return err
	}
	if days < 0 {
		days = s.Days
	}
	opt.Rule.SetDays(now, days)
	lines, err := o.configure(&opt, s, now)
	if err != nil {
		return err
	}
	v := &virtualRun{env: env, share: share, settings: s, rules: lines, skip: o.skip,
		asked: o.json || lines != nil || len(o.skip) > 0, skipped: make([]bool, len(o.skip)),
		// Room for more targets than there may be workers (maildir.MaxJobs): reading
		// the list of users then never holds one up.
		targets: make(chan *maildir.Target, maildir.MaxJobs), end: make(chan struct{}), places: make(map[string]bool)}
	if v.virtualUsers, err = findVirtualUsers(env, s); err != nil {
		return err
	}
	r := newMaildirRun(env, opt, &o.maildirOptions, lines, false)
	return r.totals(cleanVirtual(r, v))
}

// virtualUsers are the virtual users that the settings tell of.
type virtualUsers struct {
	list interface {
		Each(user func(users.Virtual) bool, fail func(error)) error
	}
	where, none string // which were looked for; what is said where there are none
}

// findVirtualUsers returns how to find them.
func findVirtualUsers(env *cli.Env, s *settings.Settings) (v virtualUsers, err error) {
	passwd := users.Passwd{Root: env.Root}
	switch {
	case s.Users != settings.Default().Users:
		v.list = users.PatternList{Pattern: s.Users, VUser: s.VUser, Passwd: passwd}
		v.none = s.Users + ": no directory that is a virtual user's"
		if s.VUser != "" {
			v.where = " of " + s.VUser
		}
	case s.VMDir == "" && s.VUser == "":
		return v, errors.New("neither VMDIR nor VUSER is set: say in " + settings.File +
			" where the virtual users' homes are, or whose they are")
	default:
		list := users.VirtualList{Assign: qmailDir(env, s) + "/users/assign", VMDir: s.VMDir, VUser: s.VUser, Passwd: passwd}
		v.list, v.where = list, where(list)
		v.none = list.Assign + ": no virtual user"
	}
	return v, nil
}

// notEntered is what like messages are about where a Maildir cannot be entered.
const notEntered = "virtual users"

// cleanVirtual cleans the Maildirs of this host's share of the users.
func cleanVirtual(r *maildirRun, v *virtualRun) error {
	env := r.env
	// A mail store that is away must not fill the mail that cron sends.
	r.place = func(t *maildir.Target) string {
		if t.Begun() {
			return t.Path
		}
		return notEntered
	}
	r.passOver = func(t *maildir.Target, path string, err error) bool {
		home := strings.TrimSuffix(t.Path, "/"+v.settings.Maildir)
		if t.Begun() || !noMaildirYet(home, v.settings.Maildir, path, err) {
			return false
		}
		if r.verbose {
			env.Warn("%s: no Maildir yet", t.Path)
		}
		return true
	}
	go v.find()
	err := r.run(v.targets)
	var killed cli.Killed
	if errors.As(err, &killed) {
		return err
	}
	close(v.end)
	for range v.targets { // let it come to its end
	}
	v.places[notEntered] = true
	for place := range v.places {
		env.WarnedAll(place)
	}
	if r.verbose {
		env.Warn("%s, %s", cli.Count(int64(r.maildirs), "user"), summary(r.total, r.opt.DryRun))
	}
	missing := v.missingUsers()
	if r.maildirs > 0 { // an empty share says nothing about folders
		missing = errors.Join(missing, r.missingFolders())
	}
	switch {
	case v.err != nil:
		return v.err
	case v.users == 0:
		return errors.New(v.none + v.where)
	case r.maildirs == 0 && !v.met:
		return fmt.Errorf("none of %s%s has a Maildir: is the mail store mounted?", cli.Count(int64(v.users), "virtual user"), v.where)
	case v.failed || err == nil && missing != nil:
		return cli.ErrReported
	}
	return err
}

// noMaildirYet reports whether an error about path says that a user's home is there, and
// nothing of a Maildir, which is called name, in it: he has had no mail so far.
func noMaildirYet(home, name, path string, err error) bool {
	if name == "." {
		var not *maildir.NotMaildirError
		return errors.As(err, &not) && len(not.Lacks) == 3
	}
	return errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(path, home+"/")
}

// missingUsers says which of the users that were to be skipped there are not: a
// misspelt exception must not go unnoticed.
func (v *virtualRun) missingUsers() (err error) {
	for i, name := range v.skip {
		if !v.skipped[i] {
			v.env.Warn("--skip: %s: no such virtual user", name)
			err = cli.ErrReported
		}
	}
	return err
}

// where says which users were looked for.
func where(list users.VirtualList) string {
	s := ""
	if list.VMDir != "" {
		s += " below " + list.VMDir
	}
	if list.VUser != "" {
		s += " of " + list.VUser
	}
	return s
}

// A virtualRun finds the users while their Maildirs are being cleaned.
type virtualRun struct {
	env *cli.Env
	virtualUsers
	settings *settings.Settings
	rules    *rules.Rules // may be nil
	skip     []string
	asked    bool // somebody asks what a user is called
	share    shard

	targets chan *maildir.Target
	end     chan struct{} // closed when nobody takes targets any more

	// To be read when targets is closed.
	skipped []bool // as skip: there was such a user
	users   int    // of all shares
	met     bool   // a Maildir of another share
	failed  bool
	places  map[string]bool // files with malformed lines
	err     error
}

func (v *virtualRun) find() {
	defer close(v.targets)
	v.err = v.list.Each(v.user, func(err error) {
		v.failed = true
		v.places[warnOfUsers(v.env, err)] = true
	})
}

// warnOfUsers says what is wrong with a list of users, and returns what like messages are
// about.
func warnOfUsers(env *cli.Env, err error) (place string) {
	var line *users.LineError
	if errors.As(err, &line) {
		what := line.File + ":" + strconv.Itoa(line.Line)
		if line.Value != "" {
			what += ": " + line.Value
		}
		env.WarnLike(line.File, what, line.Err)
		return line.File
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && err == error(pe) {
		env.WarnLike(notEntered, pe.Path, pe.Err)
	} else {
		env.Warn("%s", cli.Describe(err))
	}
	return notEntered
}

// user hands on one user, if he is in this host's share. v.met, by which an empty
// mail store is found out, looks at the others, too: a share may well be empty.
func (v *virtualRun) user(u users.Virtual) bool {
	v.users++
	path := maildir.Home(u.Home, v.settings.Maildir)
	var who rules.User
	if v.asked {
		who = knownAs(u)
	}
	skip := false
	for i, name := range v.skip {
		if who.Is(name) || strings.EqualFold(name, u.Name) {
			v.skipped[i], skip = true, true
		}
	}
	if skip || !v.share.has(u.Home) {
		if !v.met {
			info, err := users.Stat(path + "/" + v.settings.Inbox + "/cur")
			v.met = err == nil && info.IsDir()
		}
		return true
	}
	t := &maildir.Target{Path: path, UID: u.UID, Checked: u.Checked}
	if v.asked {
		t.User = who.Names[0]
	}
	if v.rules != nil {
		t.Terms = v.rules.For(who)
	}
	select {
	case v.targets <- t:
		return true
	case <-v.end:
		return false
	}
}

// knownAs returns by which names a user is known. The local part alone is not one
// where domains are.
func knownAs(u users.Virtual) rules.User {
	who := rules.User{Names: []string{u.Name}, Domain: u.Domain}
	switch {
	case u.Address == "":
	case strings.Contains(u.Name, "/"):
		who.Names = append(who.Names, u.Address)
	default:
		who.Names[0] = u.Address
	}
	return who
}

// A shard is one of several hosts' share of the users, the kth of n.
type shard struct{ k, n uint64 }

// maxShards bounds N of --shard.
const maxShards = 1000000

func parseShard(s string) (shard, error) {
	ktext, ntext, ok := strings.Cut(s, "/")
	k, err1 := settings.Number(ktext, 1, maxShards)
	n, err2 := settings.Number(ntext, 1, maxShards)
	if !ok || err1 != nil || err2 != nil || k > n {
		return shard{}, cli.Usagef("--shard: %s: not K/N with K from 1 to N", s)
	}
	return shard{uint64(k), uint64(n)}, nil
}

// has reports whether the user with that home, a cleaned path, is in the share.
// All hosts must agree for ever: FNV-1a, 64 bits, modulo N.
func (s shard) has(home string) bool {
	h := fnv.New64a()
	h.Write([]byte(home))
	return h.Sum64()%s.n == s.k-1
}
