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
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var rmmailVirtual = &cli.Applet{
	Name: "rmmail_virtual",
	Help: `usage: rmmail_virtual [-hnv] [-d N] [-j N] [--shard K/N]
Remove old messages from the Maildirs of all virtual users.

  -d, --days N       messages more than N days old go; default: DAYS, or 21
      --folder NAME  only this folder; may be repeated: INBOX, Trash, Work/2019;
                     * and ? stand for any characters
  -h, --help         show this help
  -j, --jobs N       work on N things at once
      --keep-flagged messages with the flag F stay
  -n, --dry-run      print what would go, remove nothing
      --saved        the age is that of the inode: since when mail lies here
      --seen-only    messages without the flag S stay, and all in new
      --shard K/N    only this host's share of the users, the Kth of N
  -v, --verbose      say what was done for each user, and in all
      --version      print the version

Virtual users are those of qmail's users/assign whose home lies below VMDIR and
whose account is VUSER. Settings: VMDIR, VUSER, DAYS and QMAIL in
/etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(rmmailVirtualOptions).declare(set) },
	Run:     runRmmailVirtual,
}

type rmmailVirtualOptions struct {
	maildirOptions
	days, shard string
}

func (o *rmmailVirtualOptions) declare(set *getopt.Set) {
	o.maildirOptions.declare(set)
	set.FlagLong(&o.days, "days", 'd')
	set.FlagLong(&o.shard, "shard", 0)
}

func runRmmailVirtual(env *cli.Env, argv []string) error {
	now := env.Now()
	set := getopt.New()
	var o rmmailVirtualOptions
	o.declare(set)
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
	opt, err := o.options()
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
	if s.VMDir == "" && s.VUser == "" {
		return errors.New("neither VMDIR nor VUSER is set: say in " + settings.File +
			" where the virtual users' homes are, or whose they are")
	}
	return cleanVirtual(env, opt, o.verbose, share, users.VirtualList{
		Assign: qmailDir(env, s) + "/users/assign",
		VMDir:  s.VMDir,
		VUser:  s.VUser,
		Passwd: users.Passwd{Root: env.Root},
	})
}

// notEntered is what like messages are about where a Maildir cannot be entered.
const notEntered = "virtual users"

// cleanVirtual cleans the Maildirs of this host's share of the users.
func cleanVirtual(env *cli.Env, opt maildir.Options, verbose bool, share shard, list users.VirtualList) error {
	r := newMaildirRun(env, opt, verbose)
	v := &virtualRun{env: env, list: list, share: share,
		// Room for more targets than there may be workers (maildir.MaxJobs): reading
		// the list of users then never holds one up.
		targets: make(chan *maildir.Target, maildir.MaxJobs), end: make(chan struct{}), places: make(map[string]bool)}
	var total maildir.Stats
	cleaned := 0
	// A mail store that is away must not fill the mail that cron sends.
	r.place = func(t *maildir.Target) string {
		if t.Begun() {
			return t.Path
		}
		return notEntered
	}
	r.passOver = func(path string, err error) bool {
		if !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if verbose {
			env.Warn("%s: no Maildir yet", path)
		}
		return true
	}
	r.done = func(t *maildir.Target, s maildir.Stats) {
		if t.Begun() {
			cleaned++
			total.Add(s)
		}
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
	if verbose {
		env.Warn("%s, %s", cli.Count(int64(cleaned), "user"), summary(total, opt.DryRun))
	}
	missing := error(nil)
	if cleaned > 0 { // an empty share says nothing about folders
		missing = r.missingFolders()
	}
	switch {
	case v.err != nil:
		return v.err
	case v.users == 0:
		return fmt.Errorf("%s: no virtual user%s", list.Assign, where(list))
	case cleaned == 0 && !v.met:
		return fmt.Errorf("none of %s%s has a Maildir: is the mail store mounted?", cli.Count(int64(v.users), "virtual user"), where(list))
	case v.failed:
		return cli.ErrReported
	case err == nil:
		return missing
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
	env     *cli.Env
	list    users.VirtualList
	share   shard
	targets chan *maildir.Target
	end     chan struct{} // closed when nobody takes targets any more

	// To be read when targets is closed.
	users  int  // of all shares
	met    bool // a Maildir of another share
	failed bool
	places map[string]bool // files with malformed lines
	err    error
}

func (v *virtualRun) find() {
	defer close(v.targets)
	v.err = v.list.Each(v.user, func(err error) {
		v.failed = true
		var line *users.LineError
		if errors.As(err, &line) {
			v.places[line.File] = true
			what := line.File + ":" + strconv.Itoa(line.Line)
			if line.Value != "" {
				what += ": " + line.Value
			}
			v.env.WarnLike(line.File, what, line.Err)
			return
		}
		v.env.Warn("%s", cli.Describe(err))
	})
}

// user hands on one user, if he is in this host's share. v.met, by which an empty
// mail store is found out, looks at the others, too: a share may well be empty.
func (v *virtualRun) user(u users.Virtual) bool {
	v.users++
	path := maildir.Home(u.Home)
	if !v.share.has(u.Home) {
		if !v.met {
			info, err := users.Stat(path)
			v.met = err == nil && info.IsDir()
		}
		return true
	}
	select {
	case v.targets <- &maildir.Target{Path: path, UID: u.UID, Checked: u.Checked}:
		return true
	case <-v.end:
		return false
	}
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
