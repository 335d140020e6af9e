package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Uninstall takes away what the manifest has and is still as it was put there, and
// gives the scripts back that were moved. It reports whether all of it is gone.
func (in *Installer) Uninstall() bool {
	if !in.start() {
		return false
	}
	all := slices.Clone(in.manifest.entries)
	var paths []string
	for _, e := range all {
		if !slices.Contains(paths, e.path) {
			paths = append(paths, e.path)
		}
	}
	// The links first: while there is one, what it leads to stays.
	linked := false
	for _, path := range paths {
		if in.isLink(path) && (in.stopped.Load() || !in.takeLink(path)) {
			linked = true
		}
	}
	for _, path := range paths {
		switch {
		case in.stopped.Load() || in.LinksOnly || in.isLink(path) || !in.manifest.knows(path):
		case path == in.target && linked:
			in.err("%s: left, for links that are left", in.bin)
		default:
			in.take(path)
		}
	}
	if !in.DryRun {
		in.end()
	}
	return !in.failed
}

// isLink reports whether a link was put at path, or a script moved from there.
func (in *Installer) isLink(path string) bool {
	return slices.ContainsFunc(in.manifest.entries, func(e entry) bool {
		return e.path == path && e.kind != kindFile
	})
}

// take removes what was put at path. It reports whether nothing of ours is there.
func (in *Installer) take(path string) bool {
	name := in.Root + path
	now, err := state(name, path)
	if in.fails(err) {
		return false
	}
	switch {
	case now.kind == "":
	case !in.manifest.has(now):
		in.leave(name, "changed since it was installed: left alone")
		return false
	default:
		if !in.DryRun && in.fails(os.Remove(name)) {
			return false
		}
		in.did("removed %s", name)
	}
	in.manifest.forget(path, func(entry) bool { return !in.DryRun })
	return true
}

// takeLink removes the link at path, and gives the newest script back. It reports
// whether no link to our binary is left there.
func (in *Installer) takeLink(path string) bool {
	name := in.Root + path
	now, err := look(name, path)
	if in.fails(err) {
		return false
	}
	var kept string
	for _, m := range in.manifest.moved(path) {
		if there(in.Root + m) {
			kept = m
		}
	}
	switch {
	case now.kind != "" && !in.manifest.has(now):
		// A script that stands there was never replaced, or came back already.
		if in.manifest.knows(path) && kept != "" {
			same, err := sameFile(name, in.Root+kept)
			if err == nil && same {
				return in.drop(path, kept)
			}
		}
		// One that was moved and is there no more came back before a run was killed.
		if len(in.manifest.moved(path)) == 0 || kept != "" {
			in.leave(name, "changed since it was installed: left alone")
		}
		in.manifest.forget(path, func(entry) bool { return !in.DryRun })
		return true // it leads elsewhere
	case kept == "":
		return in.take(path)
	}
	from := in.Root + kept
	info, err := os.Lstat(from)
	if in.fails(err) {
		return false
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		in.leave(from, "not a regular file")
		return false
	}
	if !in.DryRun {
		temp, err := unused(filepath.Dir(name), func(temp string) error {
			err := second(temp, from)
			if errors.Is(err, syscall.EEXIST) {
				return os.ErrExist
			}
			return err
		})
		if err == nil {
			err = os.Rename(temp, name)
		}
		if in.fails(wrap(name, err)) {
			os.Remove(temp)
			return false
		}
		if in.fails(os.Remove(from)) {
			return true
		}
	}
	in.did("moved %s to %s", from, name)
	in.manifest.forget(path, func(entry) bool { return !in.DryRun })
	return true
}

// drop ends what was killed: the script stands in its place, and has its second
// name still.
func (in *Installer) drop(path, kept string) bool {
	if !in.DryRun && in.fails(os.Remove(in.Root+kept)) {
		return true
	}
	in.manifest.forget(path, func(entry) bool { return !in.DryRun })
	return true
}

// sameFile reports whether two names are of one file.
func sameFile(a, b string) (bool, error) {
	x, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Lstat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// end writes the manifest, or removes it with the directories that were made for
// it, where they are empty.
func (in *Installer) end() {
	share := in.Root + in.share
	if len(in.manifest.entries) > 0 {
		in.fails(in.manifest.save())
	} else if in.fails(in.manifest.remove()) {
		return
	}
	dirs, _ := filepath.Glob(strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(share) + "/kowaza/orig/cron.*")
	for _, dir := range append(dirs, share+"/kowaza/orig", share+"/kowaza", share+"/doc/kowaza/systemd", share+"/doc/kowaza") {
		syscall.Rmdir(dir) // fails where there is something in it, or nothing there
	}
}
