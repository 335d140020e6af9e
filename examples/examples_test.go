package examples_test

import (
	"bytes"
	"encoding/csv"
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
	"testing"
	"time"

	"kowaza/internal/settings"
	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

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

// readYAML reads all documents of a file into v, a pointer to a slice.
func readYAML(t *testing.T, file string, v any) {
	t.Helper()
	perl := testenv.Program(t, "perl")
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
	testenv.Check(t, err)
	return string(text)
}

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
	testenv.Check(t, err)
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
	tr := testenv.NewMailTree(t, 40)
	for _, text := range []string{play.Tasks[0].Cron["job"], play.Tasks[1].Run} {
		if strings.Count(text, "{{ shard }}") != 1 {
			t.Errorf("%q has not one shard", text)
		}
		dryRun(t, tr, strings.ReplaceAll(text, "{{ shard }}", "2/3"))
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
	testenv.Check(t, filepath.WalkDir("examples", func(file string, d fs.DirEntry, err error) error {
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
var shellExamples = []string{"cron.daily/rmmail_virtual", "parallel/rmmail_virtual.sh", "report/csv.sh", "report/prometheus.sh", "monitor/prometheus.sh"}

// TestExamplesShell proves that the scripts are executable, since run-parts
// passes over others, and that sh takes them; README's too.
func TestExamplesShell(t *testing.T) {
	for _, name := range shellExamples {
		file := filepath.Join("examples", name)
		info, err := os.Stat(file)
		testenv.Check(t, err)
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
	shellcheck := testenv.Program(t, "shellcheck")
	retention := filepath.Join(t.TempDir(), "retention")
	testenv.Check(t, os.WriteFile(retention, []byte(readmeScript(t)), 0o755))
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
	command := testenv.RmmailVirtual(t)
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

	analyze := testenv.Program(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual.timer", "rmmail_virtual@.service", "rmmail_virtual@.timer"} {
		text := strings.ReplaceAll(readExample(t, "systemd/"+name), "/usr/local/bin/rmmail_virtual", command)
		testenv.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual.timer", "rmmail_virtual@1-3.service", "rmmail_virtual@1-3.timer"} {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), "rmmail_virtual") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command(testenv.Program(t, "systemd-escape"), "--unescape", "1-3").CombinedOutput()
	if err != nil || string(out) != "1/3\n" {
		t.Errorf("the instance 1-3 is read as %q: %v", out, err)
	}
}

// dryRun runs an example's command with -n and returns what it would remove.
func dryRun(t *testing.T, tr *testenv.MailTree, line string) []string {
	t.Helper()
	testenv.RmmailVirtual(t)
	dry := strings.Replace(testenv.InPath(line), "rmmail_virtual", "rmmail_virtual -n", 1)
	if dry == testenv.InPath(line) {
		t.Fatalf("%q does not run rmmail_virtual", line)
	}
	cmd := tr.Command(dry)
	if strings.Contains(line, " -v") {
		cmd = tr.Command(dry + " 2>/dev/null")
	}
	return testenv.Run(t, cmd)
}

// partition proves that the shards share the users out: each user's mail is in
// one, each shard has users, and together they have all.
func partition(t *testing.T, tr *testenv.MailTree, shards [][]string) {
	t.Helper()
	owner := make(map[string]int)
	var all []string
	for k, lines := range shards {
		if len(lines) == 0 {
			t.Errorf("shard %d has no user", k+1)
		}
		for _, line := range lines {
			user, _, _ := strings.Cut(strings.TrimPrefix(line, tr.Store+"/"), "/")
			if old, ok := owner[user]; ok && old != k {
				t.Errorf("%s is in the shards %d and %d", user, old+1, k+1)
			}
			owner[user] = k
		}
		all = append(all, lines...)
	}
	slices.Sort(all)
	if want := tr.OldMail(t); !slices.Equal(all, want) {
		t.Errorf("the shards have %d messages, a run without shards %d", len(all), len(want))
	}
}

// TestExamplesCronJobRun proves that the pods' own command, all eight at once on
// one tree, leaves what one run leaves, and that each user is one pod's.
func TestExamplesCronJobRun(t *testing.T) {
	testenv.RmmailVirtual(t)
	job, _ := readCronJob(t)
	command := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Command
	n := job.Spec.JobTemplate.Spec.Completions
	tr := testenv.NewMailTree(t, 200)
	pods := func(command []string) [][]string {
		lines := make([][]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				cmd := tr.Command(command[2], "JOB_COMPLETION_INDEX="+strconv.Itoa(i))
				cmd.Args[0] = command[0]
				lines[i] = testenv.Run(t, cmd)
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
	tr.AsOneRun(t)
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
	testenv.RmmailVirtual(t)
	testenv.Program(t, "parallel")
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	testenv.Check(t, os.WriteFile(dir+"/ssh", []byte(fakeSSH), 0o755))
	script := filepath.Join(dir, "rmmail_virtual.sh")
	text := testenv.InPath(readExample(t, "parallel/rmmail_virtual.sh"))
	testenv.Check(t, os.WriteFile(script, []byte(text), 0o755))
	dry := filepath.Join(dir, "dry.sh")
	testenv.Check(t, os.WriteFile(dry, []byte(strings.Replace(text, "rmmail_virtual --shard", "rmmail_virtual -n --shard", 1)), 0o755))
	onHosts := func(tr *testenv.MailTree, script, hosts string) *exec.Cmd {
		os.Remove(log)
		return tr.Command(script+" "+hosts, "HOME="+dir, "SSH_LOG="+log, "PARALLEL_SSH="+dir+"/ssh", "SHELL=/bin/sh")
	}
	hostsInLog := func() []string {
		text, err := os.ReadFile(log)
		testenv.Check(t, err)
		hosts := strings.Fields(string(text))
		slices.Sort(hosts)
		return hosts
	}

	tr := testenv.NewMailTree(t, 200)
	if got, want := testenv.Run(t, onHosts(tr, dry, "h1 h2 h3")), tr.OldMail(t); !slices.Equal(got, want) {
		t.Errorf("the hosts would remove %d messages, one run %d", len(got), len(want))
	}
	if got := hostsInLog(); !slices.Equal(got, []string{"h1", "h2", "h3"}) {
		t.Errorf("asked: %q", got)
	}
	testenv.Run(t, onHosts(tr, script, "h1 h2 h3 h4 h5 h6 h7 h8"))
	if got := hostsInLog(); len(slices.Compact(got)) != 8 {
		t.Errorf("asked: %q", got)
	}
	tr.AsOneRun(t)

	tr = testenv.NewMailTree(t, 40)
	testenv.Run(t, onHosts(tr, script, "h1 down h3"))
	if got := hostsInLog(); len(got) != 4 || !slices.Contains(got, "down") {
		t.Errorf("asked: %q", got)
	}
	tr.AsOneRun(t)

	// A user without a home is an error of the share that he is in.
	testenv.Check(t, os.RemoveAll(tr.Store+"/u007"))
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
	tr := testenv.NewMailTree(t, 40)
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
		shards = append(shards, dryRun(t, tr, m[1]))
	}
	if len(shards) != 3 {
		t.Errorf("%d lines, want 3", len(shards))
	}
	partition(t, tr, shards)
}

// TestExamplesCronDaily proves that the script removes what it should and is
// silent.
func TestExamplesCronDaily(t *testing.T) {
	testenv.RmmailVirtual(t)
	tr := testenv.NewMailTree(t, 40)
	if lines := testenv.Run(t, tr.Command(testenv.InPath(readExample(t, "cron.daily/rmmail_virtual")))); len(lines) > 0 {
		t.Errorf("printed %q", lines)
	}
	tr.AsOneRun(t)
}

// TestExamplesCSV proves that the table has a line for each folder, whose figures are
// those of the mail store, that no cell of it is a formula, and that a failure is one.
func TestExamplesCSV(t *testing.T) {
	testenv.RmmailVirtual(t)
	testenv.Program(t, "jq")
	tr := testenv.NewMailTree(t, 40)
	formula := tr.Store + "/u003/Maildir/.=SUM(A1,\"x\")"
	testenv.Check(t, os.MkdirAll(formula+"/cur", 0o700))
	testenv.Check(t, os.WriteFile(formula+"/cur/1,S=7:2,S", nil, 0o600))
	if os.Geteuid() == 0 {
		tr.Own(t, formula, testenv.TreeUID+3)
	}
	old := tr.OldMail(t)
	table := func(options string) [][]string {
		t.Helper()
		cmd := tr.Command("set -- " + options + "\n" + testenv.InPath(readExample(t, "report/csv.sh")))
		lines, err := csv.NewReader(strings.NewReader(strings.Join(testenv.Run(t, cmd), "\n"))).ReadAll()
		testenv.Check(t, err)
		return lines
	}
	sum := func(lines [][]string, column int) (n int) {
		for _, line := range lines {
			i, _ := strconv.Atoi(line[column])
			n += i
		}
		return n
	}
	before := tr.Snapshot(t)
	for _, options := range []string{"-n", "-d 21"} {
		lines := table(options)
		if len(lines) != 82 || len(lines[0]) != 9 || sum(lines, 4) != 241 || sum(lines, 6) != len(old) {
			t.Errorf("%s: %d lines, %d messages, %d removed; want 82, 241, %d", options, len(lines), sum(lines, 4), sum(lines, 6), len(old))
		}
		if !slices.ContainsFunc(lines, func(line []string) bool {
			return slices.Equal(line[:8], []string{"u003", tr.Store + "/u003/Maildir", "'=SUM(A1,\"x\")", "", "1", "7", "0", "0"})
		}) {
			t.Errorf("%s: no line for the formula", options)
		}
		if options == "-n" && tr.Snapshot(t) != before {
			t.Error("-n has removed something")
		}
	}
	testenv.Check(t, os.RemoveAll(tr.Store+"/u007"))
	cmd := tr.Command(testenv.InPath(readExample(t, "report/csv.sh")))
	if out, _ := cmd.Output(); cmd.ProcessState.ExitCode() != 1 || bytes.Count(out, []byte("\n")) < 70 {
		t.Errorf("with a home missing: status %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

// TestExamplesPrometheus proves that the file is in the text format of Prometheus, with
// what is left of each user and what was removed; that one of a failed run says so, and
// of one that did not even begin; and that where it cannot be written that is a failure.
func TestExamplesPrometheus(t *testing.T) {
	testenv.RmmailVirtual(t)
	testenv.Program(t, "jq")
	tr := testenv.NewMailTree(t, 40)
	old := tr.OldMail(t)
	file := tr.Dir + "/prom/rmmail_virtual.prom"
	testenv.Check(t, os.Mkdir(filepath.Dir(file), 0o755))
	tell := func(options string) (metrics map[string]string, status int) {
		t.Helper()
		cmd := tr.Command("set -- " + options + "\n" + testenv.InPath(readExample(t, "report/prometheus.sh")))
		cmd.Run()
		return readMetrics(t, file, promLine), cmd.ProcessState.ExitCode()
	}
	got, status := tell(file)
	if status != 0 || len(got) != 2*40+5 || got["kowaza_removed_messages"] != strconv.Itoa(len(old)) || got["kowaza_maildirs"] != "40" || got["kowaza_failed"] != "0" {
		t.Errorf("status %d, %v", status, got)
	}
	for _, user := range []string{"u000", "u011", "u039"} {
		left, err := filepath.Glob(tr.Store + "/" + user + "/Maildir/cur/*")
		testenv.Check(t, err)
		trash, err := filepath.Glob(tr.Store + "/" + user + "/Maildir/.Trash/cur/*")
		testenv.Check(t, err)
		if n := strconv.Itoa(len(left) + len(trash)); got[`kowaza_user_messages{user="`+user+`"}`] != n {
			t.Errorf("%s has %s left, the file says %v", user, n, got)
		}
	}
	testenv.Check(t, os.RemoveAll(tr.Store+"/u007"))
	if got, status := tell(file); status != 1 || got["kowaza_failed"] != "1" || got["kowaza_maildirs"] != "39" {
		t.Errorf("with a home missing: %d, %v", status, got)
	}
	if got, status := tell(file + " --no-such-option"); status != 2 || got["kowaza_failed"] != "1" || got["kowaza_maildirs"] != "0" {
		t.Errorf("a usage error: %d, %v", status, got)
	}
	if _, status := tell(tr.Dir + "/none/x.prom"); status == 0 {
		t.Error("a file that cannot be written is no failure")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	testenv.Check(t, err)
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// promLine is a line of Prometheus' text format: a comment, or a metric and its value.
var promLine = regexp.MustCompile(`^(?:# (?:HELP|TYPE) kowaza_[a-z_]+ .*|(kowaza_[a-z_]+(?:\{user="(?:[^"\\\n]|\\.)*"\})?) ([0-9]+))\n$`)

// TestExamplesRetention proves that README's script keeps what is flagged, takes
// trash a week after it came there, however old it is, and leaves the rest for a
// year, and remembers a failure.
func TestExamplesRetention(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the time is set for the test binary")
	}
	testenv.RmmailVirtual(t)
	tr := testenv.NewMailTree(t, 40)
	for _, folder := range []string{".ゴミ箱", ".Junk", ".迷惑メール"} { // what nobody has would be said
		testenv.Maildirs(t, tr.Store+"/u001/Maildir/"+folder)
	}
	if os.Geteuid() == 0 {
		tr.Own(t, tr.Store+"/u001", testenv.TreeUID+1)
	}
	script := testenv.InPath(readmeScript(t))
	all, err := filepath.Glob(tr.Store + "/*/Maildir/cur/*")
	testenv.Check(t, err)
	old := time.Now().Add(-400 * 24 * time.Hour)
	testenv.Check(t, os.Chtimes(all[0], old, old))
	dry := strings.ReplaceAll(script, "rmmail_virtual -d", "rmmail_virtual -n -d")
	if got := testenv.Run(t, tr.Command(dry)); !slices.Equal(got, all[:1]) {
		t.Errorf("today %q would go; want %s", got, all[0])
	}
	trash, err := filepath.Glob(tr.Store + "/*/Maildir/.Trash/cur/*")
	testenv.Check(t, err)
	want := slices.DeleteFunc(append(trash, all[0]), func(file string) bool { return strings.HasSuffix(file, ",FS") })
	slices.Sort(want)
	later := "KOWAZA_TEST_NOW=" + time.Now().Add(9*24*time.Hour).Format(time.RFC3339Nano)
	got := testenv.Run(t, tr.Command(dry, later))
	if !slices.Equal(got, want) || len(want) < 40 {
		t.Errorf("would remove %d messages, want %d", len(got), len(want))
	}
	testenv.Run(t, tr.Command(script, later))
	for _, file := range want {
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%s is left", file)
		}
	}
	testenv.Check(t, os.RemoveAll(tr.Store+"/u007"))
	cmd := tr.Command(script)
	cmd.Run()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("with a home missing: status %d, want 1", cmd.ProcessState.ExitCode())
	}
}

// TestExamplesCapabilities proves that the capabilities of the CronJob and of
// the service are enough for root and none too many, and that who owns all mail
// needs none.
func TestExamplesCapabilities(t *testing.T) {
	command := testenv.RmmailVirtual(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIP not root")
	}
	setpriv := testenv.Program(t, "setpriv")
	job, _ := readCronJob(t)
	caps := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add
	for _, name := range []string{"rmmail_virtual.service", "rmmail_virtual@.service"} {
		if line := "\nCapabilityBoundingSet=CAP_" + strings.Join(caps, " CAP_") + "\n"; !strings.Contains(readExample(t, "systemd/"+name), line) {
			t.Errorf("%s lacks %q", name, line)
		}
	}

	tr := testenv.NewMailTree(t, 40)
	before := tr.Snapshot(t)
	with := func(caps []string) *exec.Cmd {
		set := "-all"
		for _, c := range caps {
			set += ",+" + strings.ToLower(c)
		}
		return tr.Command(setpriv + " --no-new-privs --inh-caps=-all --bounding-set=" + set + " rmmail_virtual")
	}
	for i := range caps {
		cmd := with(slices.Delete(slices.Clone(caps), i, i+1))
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || tr.Snapshot(t) != before {
			t.Errorf("without %s: status %d\n%.300s", caps[i], cmd.ProcessState.ExitCode(), out)
		}
	}
	testenv.Run(t, with(caps))
	tr.AsOneRun(t)

	// The account that owns all mail. It must get at a copy of the binary.
	tr = testenv.NewMailTree(t, 40)
	tr.Own(t, tr.Store, testenv.TreeUID)
	binary, err := os.ReadFile(command)
	testenv.Check(t, err)
	testenv.Check(t, os.WriteFile(tr.Dir+"/rmmail_virtual", binary, 0o755))
	testenv.Check(t, os.Chmod(filepath.Dir(tr.Dir), 0o711))
	testenv.Run(t, tr.Command(fmt.Sprintf("%s --reuid %d --regid %[2]d --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all %s/rmmail_virtual", setpriv, testenv.TreeUID, tr.Dir)))
	if lines := testenv.Run(t, tr.Command("rmmail_virtual -n")); len(lines) > 0 {
		t.Errorf("the owner of all mail left %d old messages", len(lines))
	}
}

// readMetrics reads a textfile for Prometheus by a pattern whose first group is a metric and
// whose second is its value, both empty for a comment. Any other line is an error.
func readMetrics(t *testing.T, file string, pattern *regexp.Regexp) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	testenv.Check(t, err)
	metrics := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		m := pattern.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%q", line)
		} else if m[1] != "" {
			metrics[m[1]] = m[2]
		}
	}
	return metrics
}
