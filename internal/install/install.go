// Package install puts kowaza, the links of its applets and its documents in
// place, and takes them away again. Scripts that the links replace are kept, and
// the settings at their tops go to kowaza.conf. What it put in place it notes in a
// manifest, and it touches nothing else.
//
// A script is replaced in steps, so that whatever happens between two of them the
// command is there and nothing is lost: it gets its second name, the new link is
// made under a temporary name, the settings are written, the link is renamed over
// the script.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"kowaza/internal/settings"
)

// An Installer is one run.
type Installer struct {
	Files  fs.FS  // symlinks.txt, man, systemd, kowaza.conf, and the example of a cron job
	Binary string // the file to be copied; with LinksOnly what the links lead to
	Root   string // DESTDIR: goes before every path; absolute, or empty
	Prefix string // absolute; empty for /

	Completion map[string]string // for bash and zsh

	LinksOnly bool // make and remove links to Binary, nothing else
	DryRun    bool
	Force     []string // applets whose scripts are replaced whatever they are

	Applet func(link string) string // the applet that a link of that name runs; empty if none
	Did    func(line string)        // told what was done, or would be
	Note   func(line string)        // told what the administrator should know

	stopped  atomic.Bool
	failed   bool
	done     bool // something was done, or would be
	open     []string
	target   string // what links lead to, without Root
	bin      string // the same, with it
	binEnd   string // where that is in the end; empty if it is not there
	share    string // without Root
	manifest *manifest
	conf     confFile
}

// confFile is kowaza.conf, of which a run works on a copy.
type confFile struct {
	name string // as it is called
	file string // where it is in the end
	bad  string // why it cannot be written
	text []byte
}

// Stop ends the run after the step at hand. It may be called from any goroutine.
func (in *Installer) Stop() { in.stopped.Store(true) }

// err says what went wrong; the rest is still done.
func (in *Installer) err(format string, a ...any) {
	in.Note(fmt.Sprintf(format, a...))
	in.failed = true
}

// fails says why a step failed, and reports whether it did.
func (in *Installer) fails(err error) bool {
	if err != nil {
		in.err("%s", describe(err))
	}
	return err != nil
}

func describe(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Path + ": " + pe.Err.Error()
	}
	return err.Error()
}

// reason is why something failed, without the name of what did.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (in *Installer) did(format string, a ...any) {
	in.done = true
	in.Did(fmt.Sprintf(format, a...))
}

// leave says that a script, or another file, is not touched, and why.
func (in *Installer) leave(file, why string) {
	in.err("%s: %s", file, why)
	in.open = append(in.open, file+": "+why)
}

// start finds out where everything is. It reports whether there is a way to go on.
func (in *Installer) start() bool {
	in.share = in.Prefix + "/share"
	in.target = in.Prefix + "/bin/kowaza"
	if in.LinksOnly {
		in.target = in.Binary
		if rest, ok := strings.CutPrefix(in.Binary, in.Root+"/"); in.Root != "" && ok {
			in.target = "/" + rest
		}
	}
	in.bin = in.Root + in.target
	m, err := readManifest(in.Root + in.share + "/kowaza/manifest")
	if in.fails(err) {
		return false
	}
	in.manifest = m
	in.readConf()
	in.findBinary()
	return true
}

func (in *Installer) findBinary() {
	in.binEnd = ""
	if end := follow(in.bin); end != "" && there(end) {
		in.binEnd = end
	}
}

func (in *Installer) readConf() {
	c := &in.conf
	*c = confFile{name: in.Root + settings.File, file: in.Root + settings.File}
	info, err := os.Lstat(c.name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		c.file = follow(c.name)
		root := follow(in.Root)
		switch {
		case c.file == "":
			c.bad = "leads nowhere"
			return
		case in.Root != "" && !strings.HasPrefix(c.file, strings.TrimSuffix(root, "/")+"/"):
			c.bad = "leads out of DESTDIR"
			return
		}
		info, err = os.Lstat(c.file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.bad = "cannot be read"
		return
	}
	if !info.Mode().IsRegular() {
		c.bad = "not a regular file"
		return
	}
	if c.text, err = os.ReadFile(c.file); err != nil {
		c.bad = "cannot be read"
	}
}

// Links returns the lines of symlinks.txt in files, but comments: paths below
// PREFIX, or absolute ones. The error is that of reading it.
func Links(files fs.FS) ([]string, error) {
	text, err := fs.ReadFile(files, "symlinks.txt")
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.Trim(line, " \t\r\n"); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all, err
}

// links returns those that may be made.
func (in *Installer) links() []string {
	lines, err := Links(in.Files)
	if in.fails(err) {
		return nil
	}
	var all []string
	for _, line := range lines {
		if path.Clean(line) != line || strings.HasPrefix(line, "..") || line == "bin/kowaza" || in.Applet(path.Base(line)) == "" {
			in.err("symlinks.txt: %s: not a place for a link", line)
			continue
		}
		all = append(all, line)
	}
	return all
}

// A place is where a link goes.
type place struct {
	line string
	path string // without DESTDIR
	text string // what the link says
}

// place returns where a line of symlinks.txt goes, and what the link says: a
// relative path holds inside DESTDIR, too.
func (in *Installer) place(line string) place {
	p := place{line, line, in.target}
	if strings.HasPrefix(line, "/") {
		return p
	}
	p.path = in.Prefix + "/" + line
	if in.LinksOnly {
		return p
	}
	switch dir := path.Dir(line); {
	case dir == ".":
		p.text = "bin/kowaza"
	case dir == "bin":
		p.text = "kowaza"
	case !strings.Contains(dir, "/"):
		p.text = "../bin/kowaza"
	default:
		return p
	}
	// PREFIX/sbin may itself be a link to a place far away.
	if dir := filepath.Dir(in.Root + p.path); there(dir) && in.binEnd != "" && follow(dir+"/"+p.text) != in.binEnd {
		p.text = in.target
	}
	return p
}

// leads reports whether a link leads to our binary. Inside DESTDIR an absolute one
// leads out.
func (in *Installer) leads(link entry) bool {
	if link.kind != kindLink {
		return false
	}
	return link.value == in.target || in.binEnd != "" && follow(in.Root+link.path) == in.binEnd
}

// original returns the first of the names that the script in a link's place is kept
// under. Some run-parts run whatever lies in cron's directories, so it leaves them.
func (in *Installer) original(p place) string {
	if rest, ok := strings.CutPrefix(p.path, "/etc/cron.daily/"); ok {
		return in.share + "/kowaza/orig/" + rest
	}
	if strings.HasPrefix(p.path, "/etc/cron.") {
		return in.share + "/kowaza/orig/" + strings.TrimPrefix(p.path, "/etc/")
	}
	return p.path + ".orig"
}

// Install puts everything in place. It reports whether all of it is there.
func (in *Installer) Install() bool {
	if !in.start() {
		return false
	}
	switch {
	case in.LinksOnly && in.target != in.Prefix+"/bin/kowaza" && there(in.Root+in.Prefix+"/bin/kowaza"):
		in.err("%s: installed already: its links are left alone, remove it with kowaza --install -u", in.Root+in.Prefix+"/bin/kowaza")
	case in.LinksOnly:
		in.linkAll()
	default:
		// A link to a binary that is not there would be worse than the script.
		if in.putBinary() {
			in.findBinary()
			in.linkAll()
		}
		in.documents()
	}
	if !in.DryRun && in.manifest.entries != nil {
		in.tidy()
		in.fails(in.manifest.save())
	}
	if (in.done || len(in.open) > 0) && !in.stopped.Load() {
		in.summary()
	}
	return !in.failed
}

func (in *Installer) linkAll() {
	seen := make(map[string]bool)
	for _, line := range in.links() {
		if in.stopped.Load() {
			return
		}
		// PREFIX/sbin may be a link to bin: then one place has two paths.
		p := in.place(line)
		if dir := follow(filepath.Dir(in.Root + p.path)); dir != "" {
			at := dir + "/" + path.Base(p.path)
			if seen[at] {
				continue
			}
			seen[at] = true
		}
		in.link(p)
	}
}

// tidy takes out of the manifest what is no longer so: of several lines for one
// path those that are not what stands there.
func (in *Installer) tidy() {
	in.manifest.entries = slices.DeleteFunc(in.manifest.entries, func(e entry) bool {
		if e.kind == kindMoved {
			return !there(in.Root + e.value)
		}
		now, err := state(in.Root+e.path, e.path)
		return err == nil && (now.kind == "" || now != e && in.manifest.has(now))
	})
}

func (in *Installer) putBinary() bool {
	info, err := os.Stat(in.Binary)
	if in.fails(err) {
		return false
	}
	if now, err := os.Stat(in.bin); err == nil && os.SameFile(info, now) && !isLink(in.bin) {
		sum, err := state(in.bin, in.target)
		return !in.fails(err) && !in.fails(in.manifest.note(sum, !in.DryRun))
	}
	return in.put(in.target, 0o755, func() (io.ReadCloser, error) { return os.Open(in.Binary) })
}

func isLink(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// put makes the file at path a copy of what source opens. It reports whether it
// is one now.
func (in *Installer) put(path string, mode fs.FileMode, source func() (io.ReadCloser, error)) bool {
	name := in.Root + path
	now, err := state(name, path)
	if in.fails(err) {
		return false
	}
	r, err := source()
	if in.fails(err) {
		return false
	}
	var text bytes.Buffer
	_, err = io.Copy(&text, r)
	r.Close()
	if in.fails(err) {
		return false
	}
	want := entry{kindFile, sum(text.Bytes()), path}
	switch {
	case now.kind == "directory":
		in.leave(name, "is a directory")
		return false
	case now == want:
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&mode&0o111 == mode&0o111 {
			return !in.fails(in.manifest.note(want, !in.DryRun))
		}
	case now.kind != "" && !in.manifest.has(now):
		in.leave(name, in.whose(path))
		return false
	}
	if !in.DryRun {
		if in.fails(makeDir(filepath.Dir(name))) || in.fails(in.manifest.note(want, true)) || in.fails(replaceFile(name, &text, mode, nil)) {
			return false
		}
	}
	in.did("installed %s", name)
	return true
}

// whose says why something at path is left alone.
func (in *Installer) whose(path string) string {
	if in.manifest.knows(path) {
		return "changed since it was installed: left alone"
	}
	return "not a file of kowaza: left alone"
}

// makeDir makes a directory and those above it; the error is about the one that
// was wanted.
func makeDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Err == syscall.ENOTDIR {
		return at(dir, err)
	}
	return err
}

// link puts a link in its place.
func (in *Installer) link(p place) {
	name := in.Root + p.path
	now, err := look(name, p.path)
	if os.IsPermission(err) {
		in.leave(name, "permission denied: not looked at")
		return
	}
	if in.fails(err) {
		return
	}
	want := entry{kindLink, p.text, p.path}
	info, statErr := os.Stat(name)
	switch {
	case now.kind == "" && strings.HasPrefix(p.line, "/"):
	case now.kind == "directory" || statErr == nil && info.IsDir():
		in.leave(name, "is a directory")
	case in.leads(now):
		in.fails(in.manifest.note(now, !in.DryRun))
	case now.kind != "" && !(now.kind == kindLink && in.manifest.has(now)):
		in.replace(p)
	default:
		if !in.DryRun {
			if in.fails(makeDir(filepath.Dir(name))) {
				return
			}
			p = in.place(p.line) // the directory is there only now
			want.value = p.text
			temp, err := placeLink(name, p.text)
			if in.fails(err) {
				return
			}
			if in.fails(in.manifest.note(want, true)) || in.fails(os.Rename(temp, name)) {
				os.Remove(temp)
				return
			}
		}
		in.did("linked %s", name)
	}
}

// maxScript bounds a script that is read, in bytes.
const maxScript = 8 << 20

// readScript reads what stands at a link's place, be it a link to a script.
func readScript(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if info.Size() > maxScript {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("too large for a script")}
	}
	return io.ReadAll(io.LimitReader(f, maxScript+1))
}

// isNew reports whether the page has no script of that name.
func isNew(applet string) bool {
	switch applet {
	case "mailmatch", "mailreply", "mailtalk", "mailtrip":
		return true
	}
	return false
}

// replace puts a link in the place of a script.
func (in *Installer) replace(p place) {
	name := in.Root + p.path
	info, err := os.Lstat(name)
	if in.fails(err) {
		return
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		in.leave(name, "not a regular file")
		return
	}
	applet := in.Applet(path.Base(p.path))
	forced := slices.Contains(in.Force, applet)
	script := new(Script)
	text, err := readScript(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP): // a link that leads nowhere
		if !forced && (applet == "mailtest" || isNew(applet) || applet == "rmmail_virtual") {
			in.leave(name, "leads nowhere: left alone, see --force")
			return
		}
	case err != nil && in.DryRun && os.IsPermission(err):
		in.Note(name + ": cannot be read: what it sets is not known")
	case err != nil && !forced:
		in.leave(name, reason(err)+": left alone, see --force")
		return
	case err != nil:
		in.Note(name + ": " + reason(err) + ": no settings carried over")
	case in.wrapper(p, text):
		return
	case isNew(applet) && !forced: // it is somebody's own
		in.leave(name, "not a script of the page: left alone, see --force")
		return
	case applet == "mailtest":
		exit, ok := PageMailtest(text)
		if !ok && !forced {
			in.leave(name, "not the script of the page: left alone, see --force")
			return
		}
		if ok {
			script.Settings = []Setting{{Name: "MAILTEST_EXIT", Value: exit, Text: "MAILTEST_EXIT=" + exit}}
		} else {
			script = ReadScript(text)
		}
	default:
		script = ReadScript(text)
		if applet == "mailquotacheck" && !forced && !pageQuotacheck(text, script) {
			in.leave(name, "not the script of the page: left alone, see --force")
			return
		}
	}
	c := Carry(script, applet, in.conf.text, forced)
	// A filter that ends with another status sends mail elsewhere.
	if applet == "mailtest" && !forced && len(c.Refused) > 0 {
		c.Alone = "not carried over"
		for _, r := range c.Refused {
			in.leave(name, r.Text+": not carried over: "+r.Why+": left alone, see --force")
		}
		return
	}
	if c.Alone != "" {
		in.leave(name, c.Alone+": left alone, see --force")
		return
	}
	if len(c.Lines) > 0 && in.conf.bad != "" {
		in.leave(in.conf.name, in.conf.bad+": "+name+" is left alone")
		return
	}
	kept, err := in.keptName(p)
	if in.fails(err) {
		return
	}
	if !in.DryRun && !in.swap(p, kept, c) {
		return
	}
	if in.DryRun {
		in.conf.text = c.add(in.conf.text, p.path)
	}
	in.did("moved %s to %s", name, kept)
	for _, k := range c.Keys {
		in.did("carried over %s from %s", k, name)
	}
	for i, r := range c.Refused {
		if i == maxRefused {
			in.Note(fmt.Sprintf("%s: ... and %d more not carried over", name, len(c.Refused)-i))
			break
		}
		line := name + ": " + r.Text + ": not carried over: " + r.Why
		in.Note(line)
		if r.Key != "" { // a variable that has none need not be a setting
			in.open = append(in.open, line)
		}
	}
	in.did("linked %s", name)
}

// keptName returns the name that the script at p is kept under: the one that it has
// already, if an earlier run was killed after it gave it.
func (in *Installer) keptName(p place) (string, error) {
	for _, m := range in.manifest.moved(p.path) {
		if same, err := sameFile(in.Root+p.path, in.Root+m); err == nil && same {
			return in.Root + m, nil
		}
	}
	return freeName(in.Root + in.original(p))
}

// maxRefused bounds what is said of one script.
const maxRefused = 100

// wrapper reports whether what stands in cron's directory runs the command itself,
// with options of its own maybe, as our example does: it goes on working.
func (in *Installer) wrapper(p place, text []byte) bool {
	if !strings.HasPrefix(p.path, "/etc/cron") {
		return false
	}
	example, err := fs.ReadFile(in.Files, "examples/cron.daily/"+path.Base(p.path))
	return err == nil && bytes.Equal(text, example) || ReadScript(text).runs(path.Base(p.path))
}

// swap replaces a script by the link, with the settings written in between. It
// reports whether it did; if not, all is as it was.
func (in *Installer) swap(p place, kept string, c *Carried) bool {
	name := in.Root + p.path
	if in.fails(makeDir(filepath.Dir(kept))) {
		return false
	}
	moved, link := entry{kindMoved, strings.TrimPrefix(kept, in.Root), p.path}, entry{kindLink, p.text, p.path}
	err := in.manifest.note(moved, true)
	if err == nil {
		err = in.manifest.note(link, true)
	}
	if err == nil {
		if same, sameErr := sameFile(name, kept); sameErr != nil || !same {
			err = second(kept, name)
		}
	}
	if in.fails(err) {
		in.manifest.forget(p.path, func(e entry) bool { return e == moved || e == link })
		return false
	}
	temp, err := placeLink(name, p.text)
	if err == nil {
		err = in.publish(c, p.path)
	}
	if err == nil {
		err = wrap(name, os.Rename(temp, name))
	}
	if in.fails(err) {
		if temp != "" {
			os.Remove(temp)
		}
		os.Remove(kept)
		in.manifest.forget(p.path, func(e entry) bool { return e == moved || e == link })
		return false
	}
	return true
}

// publish writes the settings that were found. Owner and mode stay.
func (in *Installer) publish(c *Carried, from string) error {
	if len(c.Lines) == 0 {
		return nil
	}
	text := c.add(in.conf.text, from)
	if err := makeDir(filepath.Dir(in.conf.file)); err != nil {
		return err
	}
	info, err := os.Lstat(in.conf.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := replaceFile(in.conf.file, bytes.NewReader(text), 0o644, info); err != nil {
		return at(in.conf.name, err)
	}
	in.conf.text = text
	return nil
}

// add returns the text of kowaza.conf with what is carried over.
func (c *Carried) add(conf []byte, from string) []byte {
	if len(c.Lines) == 0 {
		return conf
	}
	b := bytes.NewBuffer(slices.Clone(conf))
	if len(conf) == 0 {
		b.WriteString("# Settings of kowaza, see kowaza.conf(5) and kowaza.conf.sample.\n")
	} else if conf[len(conf)-1] != '\n' {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "\n# carried over from %s\n", from)
	for _, line := range c.Lines {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

// A document is a file that is installed beside the binary.
type document struct {
	source string // in Files; empty for a completion
	path   string // without DESTDIR
	text   string // of a completion
}

func (in *Installer) read(d document) (io.ReadCloser, error) {
	if d.source == "" {
		return io.NopCloser(strings.NewReader(d.text)), nil
	}
	return in.Files.Open(d.source)
}

// documentsOf returns them: man pages, completion, units and the sample.
func (in *Installer) documentsOf() []document {
	var all []document
	for _, dir := range []string{"man", "man/ja"} {
		pages, _ := fs.Glob(in.Files, dir+"/*.[1-8]")
		for _, page := range pages {
			all = append(all, document{source: page, path: in.share + "/" + dir + "/man" + page[len(page)-1:] + "/" + path.Base(page)})
		}
	}
	if text := in.Completion["zsh"]; text != "" {
		all = append(all, document{path: in.share + "/zsh/site-functions/_kowaza", text: text})
	}
	if text := in.Completion["bash"]; text != "" {
		all = append(all, document{path: in.bashCompletion("kowaza"), text: text})
	}
	for _, kind := range []string{"service", "timer"} {
		units, _ := fs.Glob(in.Files, "systemd/*."+kind)
		for _, unit := range units {
			all = append(all, document{source: unit, path: in.share + "/doc/kowaza/systemd/" + path.Base(unit)})
		}
	}
	if _, err := fs.Stat(in.Files, "kowaza.conf"); err == nil {
		all = append(all, document{source: "kowaza.conf", path: settings.File + ".sample"})
	}
	return all
}

func (in *Installer) bashCompletion(name string) string {
	return in.share + "/bash-completion/completions/" + name
}

func (in *Installer) documents() {
	for _, d := range in.documentsOf() {
		if in.stopped.Load() {
			return
		}
		ok := in.put(d.path, 0o644, func() (io.ReadCloser, error) { return in.read(d) })
		if ok && d.path == in.bashCompletion("kowaza") {
			in.completions()
		}
	}
}

// completions makes the links by which bash finds the completion of each command.
func (in *Installer) completions() {
	var commands []string
	for _, line := range in.links() {
		commands = append(commands, path.Base(line))
	}
	slices.Sort(commands)
	for _, command := range slices.Compact(commands) {
		file := in.bashCompletion(command)
		name := in.Root + file
		now, err := look(name, file)
		want := entry{kindLink, "kowaza", file}
		switch {
		case in.fails(err):
		case now == want:
			in.fails(in.manifest.note(want, !in.DryRun))
		case now.kind != "":
			in.leave(name, in.whose(file))
		case in.DryRun:
			in.did("linked %s", name)
		case !in.fails(in.manifest.note(want, true)) && !in.fails(wrap(name, os.Symlink("kowaza", name))):
			in.did("linked %s", name)
		}
	}
}
