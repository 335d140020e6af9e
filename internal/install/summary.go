package install

import (
	"path"
	"slices"
	"strings"

	"kowaza/internal/settings"
)

// summary says for each command what it will do from now on, and what is open.
func (in *Installer) summary() {
	set := settings.Values(in.conf.text)
	in.Did("")
	in.Did("From now on:")
	var seen []string
	for _, line := range in.links() {
		applet := in.Applet(path.Base(line))
		if slices.Contains(seen, applet) {
			continue
		}
		seen = append(seen, applet)
		if tells := in.tells(applet, set); tells != "" {
			in.Did("  " + applet + ": " + tells)
		}
	}
	if len(in.open) == 0 {
		return
	}
	in.Did("Open:")
	for _, line := range in.open {
		in.Did("  " + line)
	}
}

// tells says what an applet does, by which settings, and where each comes from;
// nothing of one that has none.
func (in *Installer) tells(applet string, set map[string]string) string {
	what := ""
	switch {
	case applet == "rmoldmail":
		what = "messages as old as each call says: "
	case applet == "rmmail_virtual" && set["VMDIR"] == "" && set["VUSER"] == "":
		what = "refuses to run, since neither VMDIR nor VUSER is set: "
	case applet == "rmmail_virtual":
		days := set["DAYS"]
		if days == "" {
			days = settings.DefaultOf("DAYS")
		}
		what = "messages more than " + days + " days old: "
	}
	var all []string
	for _, key := range settings.KeysOf(applet) {
		value, from := set[key], settings.File
		if value == "" && slices.Contains(settings.OfScripts(), key) {
			// A key of kowaza's own that nobody has set changes nothing of what the
			// scripts did.
			value, from = settings.DefaultOf(key), "default"
		}
		if value != "" {
			all = append(all, key+"="+value+" ("+from+")")
		}
	}
	return what + strings.Join(all, ", ")
}
