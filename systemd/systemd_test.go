package systemd_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// unitCommands are the services in systemd/ and the commands that they run.
var unitCommands = map[string]string{
	"kowaza-rmmail-virtual.service": "/usr/local/bin/rmmail_virtual",
	"rmoldmail@.service":            "/usr/local/bin/rmoldmail",
}

func readUnit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("systemd", name))
	testenv.Check(t, err)
	return string(text)
}

// unitValues returns all values of a key, in their order.
func unitValues(text, key string) (values []string) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			values = append(values, strings.TrimSuffix(value, "\n"))
		}
	}
	return values
}

// TestUnitsVerify proves that systemd takes every unit without a complaint, and
// that each timer has its service.
func TestUnitsVerify(t *testing.T) {
	analyze := testenv.Program(t, "systemd-analyze")
	testenv.RmmailVirtual(t)
	units, err := filepath.Glob("systemd/*.service")
	testenv.Check(t, err)
	timers, err := filepath.Glob("systemd/*.timer")
	testenv.Check(t, err)
	units = append(units, timers...)
	dir := t.TempDir()
	var instances []string
	for _, unit := range units {
		name := filepath.Base(unit)
		text := readUnit(t, name)
		if strings.HasSuffix(name, ".service") {
			installed := unitCommands[name]
			here, err := exec.LookPath(filepath.Base(installed))
			testenv.Check(t, err)
			if !strings.Contains(text, "\nExecStart="+installed) {
				t.Errorf("%s does not run %s", name, installed)
			}
			text = strings.ReplaceAll(text, installed, here)
		} else if !slices.Contains(units, strings.TrimSuffix(unit, ".timer")+".service") {
			t.Errorf("%s has no service", name)
		}
		testenv.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		instances = append(instances, strings.Replace(name, "@.", "@daemon.", 1))
	}
	if len(units) != 2*len(unitCommands) {
		t.Errorf("%d units", len(units))
	}
	for _, name := range instances {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), "rmmail") || strings.Contains(string(out), "rmoldmail") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestUnitsExposure proves that systemd's own measure of what a service could do
// is 2.5 of 10 or less.
func TestUnitsExposure(t *testing.T) {
	analyze := testenv.Program(t, "systemd-analyze")
	for name := range unitCommands {
		// Without a colour or a pager, whatever the terminal is.
		cmd := exec.Command(analyze, "security", "--offline=true", "--no-pager", "systemd/"+name)
		cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		m := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+) `).FindStringSubmatch(string(out))
		if m == nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		exposure, err := strconv.ParseFloat(m[1], 64)
		if testenv.Check(t, err); exposure > 2.5 {
			t.Errorf("%s: %.1f\n%s", name, exposure, out)
		}
		t.Logf("%s: exposure %.1f", name, exposure)
	}
}

// underUnit is a command with the capabilities of a unit and no way to others,
// as systemd starts it.
func underUnit(t *testing.T, caps []string, more ...string) []string {
	t.Helper()
	set := "-all"
	for _, c := range caps {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	return append([]string{testenv.Program(t, "setpriv"), "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + set}, more...)
}

// TestUnitsCapabilities proves that the service's capabilities are enough to
// clean the Maildirs of many owners, and that without any one of them nothing
// is touched and a message says what could not be done.
func TestUnitsCapabilities(t *testing.T) {
	testenv.RmmailVirtual(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	caps := strings.Fields(unitValues(readUnit(t, "kowaza-rmmail-virtual.service"), "CapabilityBoundingSet")[0])
	says := map[string]string{
		"CAP_DAC_READ_SEARCH": "/Maildir: permission denied\n",
		"CAP_SETGID":          "/Maildir: cannot take the identity of the owner: setgroups: operation not permitted\n",
		"CAP_SETUID":          "/Maildir: cannot take the identity of the owner: setfsuid 2",
	}
	tr := testenv.NewMailTree(t, 40)
	before := tr.Snapshot(t)
	with := func(caps []string) *exec.Cmd {
		return tr.Command(strings.Join(underUnit(t, caps, "rmmail_virtual"), " "))
	}
	for i, name := range caps {
		cmd := with(slices.Delete(slices.Clone(caps), i, i+1))
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || tr.Snapshot(t) != before {
			t.Errorf("without %s: status %d\n%.300s", name, cmd.ProcessState.ExitCode(), out)
		}
		if says[name] == "" || !strings.Contains(string(out), says[name]) {
			t.Errorf("without %s: %.300q; want %q", name, out, says[name])
		}
	}
	testenv.Run(t, with(caps))
	tr.AsOneRun(t)
}

// TestUnitsOwner proves that rmoldmail@ needs no right but its user's: his old
// mail goes, and nobody else's can.
func TestUnitsOwner(t *testing.T) {
	testenv.RmmailVirtual(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	text := readUnit(t, "rmoldmail@.service")
	if caps := unitValues(text, "CapabilityBoundingSet"); !slices.Equal(caps, []string{""}) {
		t.Errorf("capabilities: %q", caps)
	}
	exe, err := exec.LookPath("rmoldmail")
	testenv.Check(t, err)
	binary, err := os.ReadFile(exe)
	testenv.Check(t, err)
	tr := testenv.NewMailTree(t, 40)
	testenv.Check(t, os.WriteFile(tr.Dir+"/rmoldmail", binary, 0o755)) // where its user can get at it
	for dir := tr.Dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
		testenv.Check(t, os.Chmod(dir, 0o711))
	}
	line := strings.NewReplacer("/usr/local/bin", tr.Dir, "${DAYS}", strings.TrimPrefix(unitValues(text, "Environment")[0], "DAYS=")).Replace(unitValues(text, "ExecStart")[0])
	start := func(home, line string) *exec.Cmd {
		argv := underUnit(t, nil, fmt.Sprintf("--reuid=%d", testenv.TreeUID+7), fmt.Sprintf("--regid=%d", testenv.TreeUID+7), "--clear-groups")
		cmd := exec.Command(argv[0], append(argv[1:], strings.Fields(line)...)...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		return cmd
	}
	old := tr.OldMail(t)
	if len(old) == 0 {
		t.Fatal("no old mail")
	}
	testenv.Run(t, start(tr.Store+"/u007", line))
	cmd := start(tr.Store+"/u009", line)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "permission denied") {
		t.Errorf("another's mail: status %d, %s", cmd.ProcessState.ExitCode(), out)
	}
	for _, file := range old {
		_, err := os.Lstat(file)
		if own := strings.HasPrefix(file, tr.Store+"/u007/"); own != os.IsNotExist(err) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// callSet returns the calls that a SystemCallFilter's word stands for.
func callSet(t *testing.T, word string) (calls []string) {
	t.Helper()
	if !strings.HasPrefix(word, "@") {
		return []string{word}
	}
	out, err := exec.Command(testenv.Program(t, "systemd-analyze"), "syscall-filter", word).Output()
	testenv.Check(t, err)
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != word && line != "" && line[0] != '#' {
			calls = append(calls, callSet(t, line)...)
		}
	}
	return calls
}

// TestUnitsCalls proves that a whole run, with the look-up of accounts by getent,
// makes no system call that the service's filter refuses: where it did, the
// owners' identities could not be taken.
func TestUnitsCalls(t *testing.T) {
	testenv.RmmailVirtual(t)
	strace := testenv.Program(t, "strace")
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for name, command := range map[string]string{"kowaza-rmmail-virtual.service": "rmmail_virtual", "rmoldmail@.service": "rmoldmail 21"} {
		allowed := map[string]bool{"execve": true} // systemd's own
		for _, filter := range unitValues(readUnit(t, name), "SystemCallFilter") {
			words, refused := strings.CutPrefix(filter, "~")
			for _, word := range strings.Fields(words) {
				for _, call := range callSet(t, word) {
					allowed[call] = !refused
				}
			}
		}
		tr := testenv.NewMailTree(t, 20)
		trace := filepath.Join(tr.Dir, "trace")
		argv := "env HOME=" + tr.Store + "/u007 " + strace + " -f -qq -o " + trace + " " + command
		if name == "rmoldmail@.service" {
			// With the owner's rights it takes on nobody's.
			tr.Own(t, tr.Store, 0)
		}
		testenv.Run(t, tr.Command(argv))
		text, err := os.ReadFile(trace)
		testenv.Check(t, err)
		used := make(map[string]bool)
		for _, m := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(`).FindAllSubmatch(text, -1) {
			used[string(m[1])] = true
		}
		var refused []string
		for call := range used {
			if !allowed[call] {
				refused = append(refused, call)
			}
		}
		slices.Sort(refused)
		if name == "rmoldmail@.service" { // as root it does this, as another it does not
			refused = slices.DeleteFunc(refused, func(c string) bool { return c == "setgroups" || c == "setfsuid" })
		}
		if len(refused) > 0 || !used["unlinkat"] || !bytes.Contains(text, []byte("getdents64")) {
			t.Errorf("%s: refused: %q, of %d calls", name, refused, len(used))
		}
	}
}
