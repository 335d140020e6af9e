package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/settings"
)

// A cronJob is what examples/kubernetes may say. The field names are the whole
// check of the schema: one that is not here is an error.
type cronJob struct {
	APIVersion string
	Kind       string
	Metadata   struct{ Name string }
	Data       map[string]string // of a ConfigMap
	Spec       struct {
		Schedule          string
		TimeZone          string
		ConcurrencyPolicy string
		JobTemplate       struct {
			Spec struct {
				ActiveDeadlineSeconds              int
				CompletionMode                     string
				Completions, Parallelism           int
				BackoffLimit, BackoffLimitPerIndex int
				Template                           struct{ Spec podSpec }
			}
		}
	}
}

type podSpec struct {
	RestartPolicy                string
	AutomountServiceAccountToken *bool
	SecurityContext              struct{ SeccompProfile struct{ Type string } }
	Containers                   []struct {
		Name, Image     string
		Command         []string
		Env             []struct{ Name, Value string }
		SecurityContext struct {
			RunAsUser, RunAsGroup                            *int
			AllowPrivilegeEscalation, ReadOnlyRootFilesystem *bool
			Capabilities                                     struct{ Drop, Add []string }
		}
		VolumeMounts []struct {
			Name, MountPath, SubPath string
			ReadOnly                 bool
		}
	}
	Volumes []struct {
		Name                  string
		PersistentVolumeClaim *struct{ ClaimName string }
		ConfigMap             *struct{ Name string }
	}
}

// needProgram skips the test where the program is missing.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP %s is not installed", name)
	}
	return file
}

// needRmmailVirtual skips the test on the originals: the examples have options
// that they lack.
func needRmmailVirtual(t *testing.T) string {
	t.Helper()
	if ours, _ := condition("kowaza"); !ours {
		t.Skip("SKIP the original has no --shard")
	}
	return needProgram(t, "rmmail_virtual")
}

// readYAML reads all documents of a file into v, a pointer to a slice.
func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	perl := needProgram(t, "perl")
	if exec.Command(perl, "-MYAML::XS", "-e", "1").Run() != nil {
		t.Skip("SKIP YAML::XS (libyaml-libyaml-perl) is not installed")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(perl, "-MYAML::XS", "-MJSON::PP", "-e", `
		$YAML::XS::ForbidDuplicateKeys = 1;
		$YAML::XS::Boolean = "JSON::PP";
		print JSON::PP->new->ascii->encode([YAML::XS::LoadFile($ARGV[0])])`, file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, &stderr)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// readCronJob returns the CronJob and the ConfigMap of the example.
func readCronJob(t *testing.T) (job, conf cronJob) {
	t.Helper()
	var all []cronJob
	readYAML(t, "examples/kubernetes/cronjob.yaml", &all)
	if len(all) != 2 {
		t.Fatalf("%d documents, want 2", len(all))
	}
	return all[1], all[0]
}

// read returns the text of an example.
func readExample(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("examples", name))
	check(t, err)
	return string(text)
}

// inPath is an example's text as it runs here: with the commands in PATH.
func inPath(text string) string { return strings.ReplaceAll(text, "/usr/local/bin/", "") }

// TestExamplesCronJob proves that the manifest is YAML, has no field but those
// of cronJob, counts its shards right, mounts what it names, and that its
// kowaza.conf is one.
func TestExamplesCronJob(t *testing.T) {
	job, conf := readCronJob(t)
	if job.APIVersion != "batch/v1" || job.Kind != "CronJob" || job.Metadata.Name == "" {
		t.Errorf("not a CronJob: %s %s %q", job.APIVersion, job.Kind, job.Metadata.Name)
	}
	if len(strings.Fields(job.Spec.Schedule)) != 5 || job.Spec.ConcurrencyPolicy != "Forbid" {
		t.Errorf("schedule %q, concurrencyPolicy %q", job.Spec.Schedule, job.Spec.ConcurrencyPolicy)
	}
	if _, err := time.LoadLocation(job.Spec.TimeZone); err != nil {
		t.Error(err)
	}
	s := job.Spec.JobTemplate.Spec
	pod := s.Template.Spec
	if s.CompletionMode != "Indexed" || pod.RestartPolicy != "Never" || len(pod.Containers) != 1 {
		t.Fatalf("completionMode %q, restartPolicy %q, %d containers", s.CompletionMode, pod.RestartPolicy, len(pod.Containers))
	}
	if s.Parallelism != s.Completions || s.BackoffLimit != s.Completions*(s.BackoffLimitPerIndex+1) {
		t.Errorf("completions %d, parallelism %d, backoffLimit %d", s.Completions, s.Parallelism, s.BackoffLimit)
	}
	c := pod.Containers[0]
	if len(c.Command) != 3 || c.Command[0] != "sh" || c.Command[1] != "-c" ||
		!strings.HasSuffix(c.Command[2], fmt.Sprintf(`/%d"`, s.Completions)) {
		t.Errorf("command %q with %d completions", c.Command, s.Completions)
	}
	sc := c.SecurityContext
	if sc.RunAsUser == nil || *sc.RunAsUser != 0 || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation ||
		sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem || !slices.Equal(sc.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("securityContext %+v", sc)
	}

	if conf.APIVersion != "v1" || conf.Kind != "ConfigMap" {
		t.Errorf("not a ConfigMap: %s %s", conf.APIVersion, conf.Kind)
	}
	parsed, err := settings.Parse("kowaza.conf", []byte(conf.Data["kowaza.conf"]))
	check(t, err)
	wanted := map[string]bool{parsed.VMDir: true, parsed.QMail + "/users": true}
	if len(c.Env) != 1 || c.Env[0].Name != "KOWAZA_CONF" || filepath.Base(c.Env[0].Value) != "kowaza.conf" {
		t.Fatalf("env %v", c.Env)
	}
	wanted[filepath.Dir(c.Env[0].Value)] = true
	volumes := make(map[string]bool)
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.PersistentVolumeClaim == nil && (v.ConfigMap == nil || v.ConfigMap.Name != conf.Metadata.Name) {
			t.Errorf("volume %s is neither a claim nor the ConfigMap", v.Name)
		}
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] || !wanted[m.MountPath] {
			t.Errorf("%s is mounted from %s: no such volume, or nobody asks for it", m.MountPath, m.Name)
		}
		if m.ReadOnly == (m.MountPath == parsed.VMDir) {
			t.Errorf("%s: readOnly %v", m.MountPath, m.ReadOnly)
		}
		delete(wanted, m.MountPath)
	}
	if len(wanted) > 0 {
		t.Errorf("not mounted: %v", wanted)
	}
}

// TestExamplesPlaybook proves that the playbook is YAML, and that the command
// of each of its tasks is one that rmmail_virtual takes.
func TestExamplesPlaybook(t *testing.T) {
	type task struct {
		Name  string
		Cron  map[string]string `json:"ansible.builtin.cron"`
		Run   string            `json:"ansible.builtin.command"`
		Tags  []string
		Alter bool `json:"changed_when"`
	}
	var all [][]struct {
		Name, Hosts string
		Become      bool
		Facts       bool `json:"gather_facts"`
		Vars        map[string]string
		Tasks       []task
	}
	readYAML(t, "examples/ansible/rmmail_virtual.yml", &all)
	if len(all) != 1 || len(all[0]) != 1 || len(all[0][0].Tasks) != 2 {
		t.Fatalf("not one play of two tasks: %+v", all)
	}
	play := all[0][0]
	if want := "{{ groups['mail'].index(inventory_hostname) + 1 }}/{{ groups['mail'] | length }}"; play.Hosts != "mail" || play.Vars["shard"] != want {
		t.Errorf("hosts %q, shard %q", play.Hosts, play.Vars["shard"])
	}
	tr := newMailTree(t, 40)
	for _, text := range []string{play.Tasks[0].Cron["job"], play.Tasks[1].Run} {
		if strings.Count(text, "{{ shard }}") != 1 {
			t.Errorf("%q has not one shard", text)
		}
		tr.dryRun(t, strings.ReplaceAll(text, "{{ shard }}", "2/3"))
	}
	if ansible, err := exec.LookPath("ansible-playbook"); err == nil {
		cmd := exec.Command(ansible, "-i", "localhost,", "--syntax-check", "examples/ansible/rmmail_virtual.yml")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", cmd, err, out)
		}
	}
}

// TestExamplesYAML proves that no YAML file is left out of these tests.
func TestExamplesYAML(t *testing.T) {
	known := []string{"examples/ansible/rmmail_virtual.yml", "examples/kubernetes/cronjob.yaml"}
	var found []string
	check(t, filepath.WalkDir("examples", func(file string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(file); ext == ".yml" || ext == ".yaml" {
			found = append(found, file)
		}
		return err
	}))
	if !slices.Equal(found, known) {
		t.Errorf("YAML files: %q, want %q", found, known)
	}
}

// shellExamples are the scripts, which people copy.
var shellExamples = []string{"cron.daily/rmmail_virtual", "parallel/rmmail_virtual.sh"}

// TestExamplesShell proves that the scripts are executable, since run-parts
// passes over others, and that sh takes them; README's too.
func TestExamplesShell(t *testing.T) {
	for _, name := range shellExamples {
		file := filepath.Join("examples", name)
		info, err := os.Stat(file)
		check(t, err)
		if info.Mode()&0o111 != 0o111 || !strings.HasPrefix(readExample(t, name), "#!/bin/sh\n") {
			t.Errorf("%s cannot be run: %v", file, info.Mode())
		}
		if out, err := exec.Command("sh", "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
	if name := filepath.Base(shellExamples[0]); strings.ContainsAny(name, ".~") {
		t.Errorf("run-parts passes over %s", name)
	}
}

// TestExamplesShellcheck proves that shellcheck finds nothing in the scripts.
func TestExamplesShellcheck(t *testing.T) {
	shellcheck := needProgram(t, "shellcheck")
	retention := filepath.Join(t.TempDir(), "retention")
	check(t, os.WriteFile(retention, []byte(readmeScript(t)), 0o755))
	args := []string{retention}
	for _, name := range shellExamples {
		args = append(args, filepath.Join("examples", name))
	}
	if out, err := exec.Command(shellcheck, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// readmeScript returns the one shell script in examples/README.md.
func readmeScript(t *testing.T) string {
	t.Helper()
	parts := strings.Split(readExample(t, "README.md"), "\n```")
	if len(parts) != 3 || !strings.HasPrefix(parts[1], "sh\n") {
		t.Fatal("README.md has not one shell script")
	}
	return strings.TrimPrefix(parts[1], "sh\n") + "\n"
}

// TestExamplesSystemd proves that systemd takes the units, with the commands
// where they are here; that it reads the instance 1-3 as 1/3; and that the units
// for shards are the plain ones but for the shard.
func TestExamplesSystemd(t *testing.T) {
	command := needRmmailVirtual(t)
	for _, kind := range []string{"service", "timer"} {
		plain := readExample(t, "systemd/rmmail_virtual."+kind)
		shard := readExample(t, "systemd/rmmail_virtual@."+kind)
		if kind == "service" && strings.Count(shard, "\nExecStart=/usr/local/bin/rmmail_virtual --shard %I\n") != 1 {
			t.Errorf("no share in %s", shard)
		}
		if strings.HasPrefix(shard, "#") {
			_, shard, _ = strings.Cut(shard, "\n")
		}
		if strings.NewReplacer(", share %I", "", " --shard %I", "").Replace(shard) != plain {
			t.Errorf("rmmail_virtual@.%s is not rmmail_virtual.%[1]s with shards", kind)
		}
	}

	analyze := needProgram(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual.timer", "rmmail_virtual@.service", "rmmail_virtual@.timer"} {
		text := strings.ReplaceAll(readExample(t, "systemd/"+name), "/usr/local/bin/rmmail_virtual", command)
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual.timer", "rmmail_virtual@1-3.service", "rmmail_virtual@1-3.timer"} {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), "rmmail_virtual") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command(needProgram(t, "systemd-escape"), "--unescape", "1-3").CombinedOutput()
	if err != nil || string(out) != "1/3\n" {
		t.Errorf("the instance 1-3 is read as %q: %v", out, err)
	}
}

// treeUID is the first user's uid where root runs the test.
const treeUID = 20000

// A mailTree is a mail store, with users/assign and kowaza.conf, as one host
// sees it.
type mailTree struct {
	users int
	dir   string
	store string // the virtual users' homes
	conf  string // behind links, as a ConfigMap is mounted
}

// newMailTree makes virtual users, each with a uid of his own where root
// runs the test, in homes of mode 0700: a few old messages and young ones, some
// of them flagged, in two folders, and a quota. Two trees are the same but for
// their paths.
func newMailTree(t *testing.T, users int) *mailTree {
	t.Helper()
	dir := t.TempDir()
	tr := &mailTree{users: users, dir: dir, store: dir + "/home/popuser", conf: dir + "/conf/kowaza.conf"}
	now := time.Now()
	var assign strings.Builder
	check(t, os.MkdirAll(tr.store, 0o755))
	for i := range users {
		home := fmt.Sprintf("%s/u%03d", tr.store, i)
		for _, folder := range []string{"", "/.Trash"} {
			for _, sub := range []string{"cur", "new", "tmp"} {
				check(t, os.MkdirAll(home+"/Maildir"+folder+"/"+sub, 0o700))
			}
		}
		for m := range 6 {
			file := fmt.Sprintf("%s/Maildir%s/cur/%d.M%dP1.mail,S=%d:2,%s", home, []string{"", "/.Trash"}[m%2], m, i, m+5, []string{"S", "S", "FS"}[m%3])
			check(t, os.WriteFile(file, []byte("text\n"+strings.Repeat("x", m)), 0o600))
			at := now.Add(-time.Duration((m*m*i)%60) * 24 * time.Hour)
			check(t, os.Chtimes(file, at, at))
		}
		check(t, os.WriteFile(home+"/Maildir/maildirsize", []byte("1000000S\n45 6\n"), 0o600))
		fmt.Fprintf(&assign, "=u%03d:popuser:%d:%d:%s:::\n", i, treeUID+i, treeUID+i, home)
		if os.Geteuid() == 0 {
			tr.own(t, home, treeUID+i)
		}
	}
	check(t, os.MkdirAll(dir+"/qmail/users", 0o755))
	check(t, os.WriteFile(dir+"/qmail/users/assign", []byte(assign.String()+".\n"), 0o644))
	text := fmt.Sprintf("VMDIR=%s\nVUSER=popuser\nQMAIL=%s/qmail\n", tr.store, dir)
	check(t, os.MkdirAll(dir+"/conf/..1", 0o755))
	check(t, os.WriteFile(dir+"/conf/..1/kowaza.conf", []byte(text), 0o644))
	check(t, os.Chmod(dir+"/conf/..1/kowaza.conf", 0o644))
	check(t, os.Symlink("..1", dir+"/conf/..data"))
	check(t, os.Symlink("..data/kowaza.conf", tr.conf))
	return tr
}

// own gives everything below dir to a user.
func (tr *mailTree) own(t *testing.T, dir string, uid int) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(file, uid, uid)
	}))
}

// command is a shell command for this tree.
func (tr *mailTree) command(line string, env ...string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(append(os.Environ(), "KOWAZA_CONF="+tr.conf), env...)
	return cmd
}

// run runs a command that must have nothing to say on standard error, and
// returns its lines, sorted.
func run(t *testing.T, cmd *exec.Cmd) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%q: %v\n%s", cmd.Args, err, &stderr)
	}
	lines := strings.Split(stdout.String(), "\n")
	lines = lines[:len(lines)-1]
	slices.Sort(lines)
	return lines
}

// dryRun runs an example's command with -n and returns what it would remove.
func (tr *mailTree) dryRun(t *testing.T, line string) []string {
	t.Helper()
	needRmmailVirtual(t)
	dry := strings.Replace(inPath(line), "rmmail_virtual", "rmmail_virtual -n", 1)
	if dry == inPath(line) {
		t.Fatalf("%q does not run rmmail_virtual", line)
	}
	cmd := tr.command(dry)
	if strings.Contains(line, " -v") {
		cmd = tr.command(dry + " 2>/dev/null")
	}
	return run(t, cmd)
}

// snapshot describes all that is left in the tree's mail store.
func (tr *mailTree) snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	check(t, filepath.WalkDir(tr.store, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d", strings.TrimPrefix(file, tr.store), info.Mode(), st.Uid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", text)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// oldMail returns the messages of more than 21 days.
func (tr *mailTree) oldMail(t *testing.T) []string {
	t.Helper()
	lines := run(t, tr.command("rmmail_virtual -n"))
	if len(lines) < tr.users || len(lines) > 5*tr.users {
		t.Fatalf("%d messages to remove: too few or too many to prove anything", len(lines))
	}
	return lines
}

// partition proves that the shards share the users out: each user's mail is in
// one, each shard has users, and together they have all.
func partition(t *testing.T, tr *mailTree, shards [][]string) {
	t.Helper()
	owner := make(map[string]int)
	var all []string
	for k, lines := range shards {
		if len(lines) == 0 {
			t.Errorf("shard %d has no user", k+1)
		}
		for _, line := range lines {
			user, _, _ := strings.Cut(strings.TrimPrefix(line, tr.store+"/"), "/")
			if old, ok := owner[user]; ok && old != k {
				t.Errorf("%s is in the shards %d and %d", user, old+1, k+1)
			}
			owner[user] = k
		}
		all = append(all, lines...)
	}
	slices.Sort(all)
	if want := tr.oldMail(t); !slices.Equal(all, want) {
		t.Errorf("the shards have %d messages, a run without shards %d", len(all), len(want))
	}
}

// oneRun is what one run leaves of a tree of so many users, once that is known.
var oneRun = make(map[int]string)

// asOneRun proves that what was done to tr is what one run does to a tree like it.
func asOneRun(t *testing.T, tr *mailTree) {
	t.Helper()
	if lines := run(t, tr.command("rmmail_virtual -n")); len(lines) > 0 {
		t.Errorf("%d old messages are left", len(lines))
	}
	if oneRun[tr.users] == "" {
		one := newMailTree(t, tr.users)
		one.oldMail(t)
		run(t, one.command("rmmail_virtual"))
		oneRun[tr.users] = one.snapshot(t)
	}
	got := strings.Split(tr.snapshot(t), "\n")
	for i, want := range strings.Split(oneRun[tr.users], "\n") {
		if i >= len(got) || got[i] != want {
			t.Errorf("not as one run leaves it, from here on: %s", want)
			return
		}
	}
}

// TestExamplesCronJobRun proves that the pods' own command, all eight at once on
// one tree, leaves what one run leaves, and that each user is one pod's.
func TestExamplesCronJobRun(t *testing.T) {
	needRmmailVirtual(t)
	job, _ := readCronJob(t)
	command := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Command
	n := job.Spec.JobTemplate.Spec.Completions
	tr := newMailTree(t, 200)
	pods := func(command []string) [][]string {
		lines := make([][]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				cmd := tr.command(command[2], "JOB_COMPLETION_INDEX="+strconv.Itoa(i))
				cmd.Args[0] = command[0]
				lines[i] = run(t, cmd)
			})
		}
		wg.Wait()
		return lines
	}
	dry := slices.Clone(command)
	dry[2] = strings.Replace(dry[2], "rmmail_virtual", "rmmail_virtual -n", 1)
	partition(t, tr, pods(dry))
	for i, lines := range pods(command) {
		if len(lines) > 0 {
			t.Errorf("pod %d printed %q", i, lines)
		}
	}
	asOneRun(t, tr)
}

// fakeSSH stands for ssh: it notes the host, refuses where that is called down,
// and runs the command here.
const fakeSSH = `#!/bin/sh
host=$1
shift
[ "$1" != -- ] || shift
echo "$host" >>"$SSH_LOG"
[ "$host" != down ] || exit 255
exec sh -c "$*"
`

// TestExamplesParallel proves that the script for GNU parallel has every shard
// done, each by another host and all at once, as one run does it; that another
// host does the share of one that is down; and that its status counts the shares
// that failed.
func TestExamplesParallel(t *testing.T) {
	needRmmailVirtual(t)
	needProgram(t, "parallel")
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	check(t, os.WriteFile(dir+"/ssh", []byte(fakeSSH), 0o755))
	script := filepath.Join(dir, "rmmail_virtual.sh")
	text := inPath(readExample(t, "parallel/rmmail_virtual.sh"))
	check(t, os.WriteFile(script, []byte(text), 0o755))
	dry := filepath.Join(dir, "dry.sh")
	check(t, os.WriteFile(dry, []byte(strings.Replace(text, "rmmail_virtual --shard", "rmmail_virtual -n --shard", 1)), 0o755))
	onHosts := func(tr *mailTree, script, hosts string) *exec.Cmd {
		os.Remove(log)
		return tr.command(script+" "+hosts, "HOME="+dir, "SSH_LOG="+log, "PARALLEL_SSH="+dir+"/ssh", "SHELL=/bin/sh")
	}
	hostsInLog := func() []string {
		text, err := os.ReadFile(log)
		check(t, err)
		hosts := strings.Fields(string(text))
		slices.Sort(hosts)
		return hosts
	}

	tr := newMailTree(t, 200)
	if got, want := run(t, onHosts(tr, dry, "h1 h2 h3")), tr.oldMail(t); !slices.Equal(got, want) {
		t.Errorf("the hosts would remove %d messages, one run %d", len(got), len(want))
	}
	if got := hostsInLog(); !slices.Equal(got, []string{"h1", "h2", "h3"}) {
		t.Errorf("asked: %q", got)
	}
	run(t, onHosts(tr, script, "h1 h2 h3 h4 h5 h6 h7 h8"))
	if got := hostsInLog(); len(slices.Compact(got)) != 8 {
		t.Errorf("asked: %q", got)
	}
	asOneRun(t, tr)

	tr = newMailTree(t, 40)
	run(t, onHosts(tr, script, "h1 down h3"))
	if got := hostsInLog(); len(got) != 4 || !slices.Contains(got, "down") {
		t.Errorf("asked: %q", got)
	}
	asOneRun(t, tr)

	// A user without a home is an error of the share that he is in.
	check(t, os.RemoveAll(tr.store+"/u007"))
	cmd := onHosts(tr, script, "h1 h2 h3")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "u007") {
		t.Errorf("status %d, want 1\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

// crontabLine is five fields of time and the command.
var crontabLine = regexp.MustCompile(`^[0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+ [0-9*,/-]+ +(/.*)$`)

// TestExamplesCrontab proves that each line of the crontab runs, and that the
// lines of the three hosts share the users out.
func TestExamplesCrontab(t *testing.T) {
	tr := newMailTree(t, 40)
	var shards [][]string
	for line := range strings.Lines(readExample(t, "crontab")) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		m := crontabLine.FindStringSubmatch(line)
		if m == nil || strings.Contains(m[1], "%") {
			t.Fatalf("%q is no line for cron", line)
		}
		shards = append(shards, tr.dryRun(t, m[1]))
	}
	if len(shards) != 3 {
		t.Errorf("%d lines, want 3", len(shards))
	}
	partition(t, tr, shards)
}

// TestExamplesCronDaily proves that the script removes what it should and is
// silent.
func TestExamplesCronDaily(t *testing.T) {
	needRmmailVirtual(t)
	tr := newMailTree(t, 40)
	if lines := run(t, tr.command(inPath(readExample(t, "cron.daily/rmmail_virtual")))); len(lines) > 0 {
		t.Errorf("printed %q", lines)
	}
	asOneRun(t, tr)
}

// TestExamplesRetention proves that README's script keeps what is flagged, takes
// trash a week after it came there, however old it is, and leaves the rest for a
// year, and remembers a failure.
func TestExamplesRetention(t *testing.T) {
	if ours, _ := condition("testbinary"); !ours {
		t.Skip("SKIP the time is set for the test binary")
	}
	needRmmailVirtual(t)
	tr := newMailTree(t, 40)
	for _, folder := range []string{".ゴミ箱", ".Junk", ".迷惑メール"} { // what nobody has would be said
		for _, sub := range []string{"cur", "new", "tmp"} {
			check(t, os.MkdirAll(tr.store+"/u001/Maildir/"+folder+"/"+sub, 0o700))
		}
	}
	if os.Geteuid() == 0 {
		tr.own(t, tr.store+"/u001", treeUID+1)
	}
	script := inPath(readmeScript(t))
	all, err := filepath.Glob(tr.store + "/*/Maildir/cur/*")
	check(t, err)
	old := time.Now().Add(-400 * 24 * time.Hour)
	check(t, os.Chtimes(all[0], old, old))
	dry := strings.ReplaceAll(script, "rmmail_virtual -d", "rmmail_virtual -n -d")
	if got := run(t, tr.command(dry)); !slices.Equal(got, all[:1]) {
		t.Errorf("today %q would go; want %s", got, all[0])
	}
	trash, err := filepath.Glob(tr.store + "/*/Maildir/.Trash/cur/*")
	check(t, err)
	want := slices.DeleteFunc(append(trash, all[0]), func(file string) bool { return strings.HasSuffix(file, ",FS") })
	slices.Sort(want)
	later := "KOWAZA_TEST_NOW=" + time.Now().Add(9*24*time.Hour).Format(time.RFC3339Nano)
	got := run(t, tr.command(dry, later))
	if !slices.Equal(got, want) || len(want) < 40 {
		t.Errorf("would remove %d messages, want %d", len(got), len(want))
	}
	run(t, tr.command(script, later))
	for _, file := range want {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s is left", file)
		}
	}
	check(t, os.RemoveAll(tr.store+"/u007"))
	cmd := tr.command(script)
	cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("with a home missing: status %d, want 1", cmd.ProcessState.ExitCode())
	}
}

// TestExamplesCapabilities proves that the capabilities of the CronJob and of
// the service are enough for root and none too many, and that who owns all mail
// needs none.
func TestExamplesCapabilities(t *testing.T) {
	command := needRmmailVirtual(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIP not root")
	}
	setpriv := needProgram(t, "setpriv")
	job, _ := readCronJob(t)
	caps := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual@.service"} {
		if line := "\nCapabilityBoundingSet=CAP_" + strings.Join(caps, " CAP_") + "\n"; !strings.Contains(readExample(t, "systemd/"+name), line) {
			t.Errorf("%s lacks %q", name, line)
		}
	}

	tr := newMailTree(t, 40)
	before := tr.snapshot(t)
	with := func(caps []string) *exec.Cmd {
		set := "-all"
		for _, c := range caps {
			set += ",+" + strings.ToLower(c)
		}
		return tr.command(setpriv + " --no-new-privs --inh-caps=-all --bounding-set=" + set + " rmmail_virtual")
	}
	for i := range caps {
		cmd := with(slices.Delete(slices.Clone(caps), i, i+1))
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || tr.snapshot(t) != before {
			t.Errorf("without %s: status %d\n%.300s", caps[i], cmd.ProcessState.ExitCode(), out)
		}
	}
	run(t, with(caps))
	asOneRun(t, tr)

	// The account that owns all mail. It must get at a copy of the binary.
	tr = newMailTree(t, 40)
	tr.own(t, tr.store, treeUID)
	binary, err := os.ReadFile(command)
	check(t, err)
	check(t, os.WriteFile(tr.dir+"/rmmail_virtual", binary, 0o755))
	check(t, os.Chmod(filepath.Dir(tr.dir), 0o711))
	run(t, tr.command(fmt.Sprintf("%s --reuid %d --regid %[2]d --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all %s/rmmail_virtual", setpriv, treeUID, tr.dir)))
	if lines := run(t, tr.command("rmmail_virtual -n")); len(lines) > 0 {
		t.Errorf("the owner of all mail left %d old messages", len(lines))
	}
}
