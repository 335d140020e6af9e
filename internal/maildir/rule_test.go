package maildir

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRule proves what goes from a Maildir: SPEC 2, "What is old" and "What goes",
// a line for each sentence. The days are 7, so old is what is more than 192 hours.
func TestRule(t *testing.T) {
	const (
		hour  = time.Hour
		young = 191 * hour
		old   = 193 * hour
		file  = "1700000000.M1P2.mail"
	)
	now := time.Date(2026, 5, 27, 12, 0, 0, 7, time.UTC) // 1779883200
	if now.Unix() != 1779883200 {
		t.Fatal(now.Unix())
	}
	all, flagged, seen, saved, named := Rule{All: true}, Rule{KeepFlagged: true}, Rule{SeenOnly: true}, Rule{Clock: BySaved}, Rule{Clock: ByName}
	for _, row := range []struct {
		sentence     string
		rule         Rule
		in           string // the directory of a folder; empty: none of the three
		name         string
		mtime, ctime time.Duration // how long ago
		goes         bool
	}{
		{"a message of 191 hours stays", Rule{}, "cur", file, young, young, false},
		{"one of 192 hours stays: older than, strictly", Rule{}, "cur", file, 192 * hour, young, false},
		{"one that is a nanosecond older goes", Rule{}, "cur", file, 192*hour + 1, young, true},
		{"in new, too", Rule{}, "new", file, old, young, true},
		{"the age is the mtime, however long it has lain here", Rule{}, "cur", file, young, old, false},
		{"a date in the future is not old", Rule{}, "cur", file, -hour, old, false},
		{"a name that begins with a dot is no message", Rule{}, "cur", ".nfs0001", old, old, false},
		{"what lies elsewhere is none", Rule{}, "", "dovecot-uidlist", old, old, false},

		{"in tmp what is old goes", Rule{}, "tmp", file, old, old, true},
		{"but not while its ctime is of the last 36 hours", Rule{}, "tmp", file, old, 36 * hour, false},
		{"after them it does", Rule{}, "tmp", file, old, 36*hour + 1, true},
		{"what is young in tmp stays", Rule{}, "tmp", file, young, old, false},

		{"-a takes what lies elsewhere", all, "", "dovecot-uidlist", old, young, true},
		{"and names with a dot", all, "cur", ".nfs0001", old, young, true},
		{"and what is old in tmp, as find did", all, "tmp", file, old, young, true},
		{"but nothing young", all, "", "dovecot-uidlist", young, old, false},

		{"--saved counts from the ctime", saved, "cur", file, young, old, true},
		{"and not from the mtime", saved, "cur", file, old, young, false},
		{"tmp keeps its 36 hours", saved, "tmp", file, young, old, true},

		{"--by name counts from the name: here 7 days before, which is young", named, "cur", "1779278400.M1P2.mail", old, old, false},
		{"here 9 days before", named, "cur", "1779105600.M1P2.mail", young, young, true},
		{"a day from now is believed", named, "cur", "1779969600.M1P2.mail", old, old, false},
		{"a second more is not: mtime", named, "cur", "1779969601.M1P2.mail", old, old, true},
		{"1990 is believed", named, "cur", "631152000.x", young, young, true},
		{"what is before is not: mtime", named, "cur", "631151999.x", young, young, false},
		{"nor milliseconds, nor what overflows", named, "cur", "1779105600000.x", young, young, false},
		{"", named, "cur", "99999999999999999999999999.x", young, young, false},
		{"nor a name without a number", named, "cur", "msg.x", old, old, true},
		{"tmp keeps its 36 hours of ctime", named, "tmp", "1779105600.M1P2.mail", young, hour, false},

		{"--keep-flagged: F stays", flagged, "cur", file + ":2,FS", old, old, false},
		{"without F it goes", flagged, "cur", file + ":2,S", old, old, true},
		{"behind ; and ! as behind :", flagged, "cur", file + ";2,F", old, old, false},
		{"", flagged, "cur", file + "!2,F", old, old, false},
		{",S= is read before", flagged, "cur", file + ",S=12:2,F", old, old, false},
		{"an F in another place is no flag", flagged, "cur", "1700000000.F.mail:2,S", old, old, true},
		{"an info part that cannot be read lets it stay", flagged, "cur", file + ":1,F", old, old, false},
		{"", seen, "cur", file + ":1,S", old, old, false},
		{"a message without an info part has no flag", flagged, "new", file, old, old, true},

		{"--seen-only: without S it stays", seen, "cur", file + ":2,F", old, old, false},
		{"with S it goes", seen, "cur", file + ":2,FS", old, old, true},
		{"all in new stay", seen, "new", file + ":2,S", old, old, false},

		{"a rule of never lets all stay", Rule{Never: true}, "cur", file, old, old, false},
	} {
		rule := row.rule
		rule.SetDays(now, 7)
		var st unix.Stat_t
		st.Mtim = unix.NsecToTimespec(now.Add(-row.mtime).UnixNano())
		st.Ctim = unix.NsecToTimespec(now.Add(-row.ctime).UnixNano())
		in, name := contentOf(row.in), []byte(row.name)
		if got := rule.takes(in, name) && !rule.stays(in, name) && !rule.young(name) && rule.old(in, name, &st); got != row.goes {
			t.Errorf("%s: %s/%s, mtime %v, ctime %v ago: goes %v", row.sentence, row.in, row.name, row.mtime, row.ctime, got)
		}
	}
}

// TestRuleQuota proves what a quota had counted of what went: messages that were
// delivered, and none of .Trash.
func TestRuleQuota(t *testing.T) {
	for _, row := range []struct {
		in               string
		trash            bool
		name             string
		courier, dovecot bool
	}{
		{"cur", false, "1.x", true, true}, {"new", false, "1.x", true, true},
		{"tmp", false, "1.x", false, false}, {"", false, "1.x", false, false},
		{"cur", true, "1.x", false, true}, {"cur", false, ".x", false, false},
		{"cur", false, "1.x:2,ST", false, true}, {"cur", false, "1.T:2,S", true, true},
	} {
		in, name := contentOf(row.in), []byte(row.name)
		dovecot := counted(in, name)
		courier := dovecot && !row.trash && !thrownAway(name)
		if courier != row.courier || dovecot != row.dovecot {
			t.Errorf("%+v: Courier %v, Dovecot %v", row, courier, dovecot)
		}
	}
}
