package real

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	dovecotLibexec  = "/usr/lib/dovecot"
	dovecotLDA      = dovecotLibexec + "/dovecot-lda"
	dovecotPassword = "himitsu"
)

// dovecotConfig says what kind of Dovecot a test wants.
type dovecotConfig struct {
	protocols []string          // imap, pop3
	users     []string          // each has dovecotPassword and a home of its own
	passwords map[string]string // of the users with another password, of any bytes but NUL
	extra     string            // goes to the end of dovecot.conf
}

// A dovecot is a running server that shares nothing with another one on the
// machine: configuration, sockets, state, logs and mail lie in dir.
type dovecot struct {
	t     *testing.T
	dir   string
	uid   int            // of all its mail users, and their gid
	ports map[string]int // protocol: TCP port on 127.0.0.1
}

// needDovecot skips the test where there is no Dovecot that it was written
// for; 2.4 has another configuration language.
func needDovecot(t *testing.T, protocols ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP dovecot: not root")
	}
	commands := []string{"dovecot", "doveadm", dovecotLDA}
	for _, protocol := range protocols {
		commands = append(commands, filepath.Join(dovecotLibexec, protocol))
	}
	for _, command := range commands {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("SKIP dovecot: %s not installed", filepath.Base(command))
		}
	}
	version, err := exec.Command("dovecot", "--version").Output()
	if err != nil || !bytes.HasPrefix(version, []byte("2.3.")) {
		t.Skipf("SKIP dovecot: version %s is not 2.3", bytes.TrimSpace(version))
	}
}

// startDovecot starts a server, and stops it when the test ends.
func startDovecot(t *testing.T, config dovecotConfig) *dovecot {
	t.Helper()
	needDovecot(t, config.protocols...)
	d := &dovecot{t: t, dir: shortDir(t), uid: spareUID()}
	if err := os.Mkdir(filepath.Dir(d.home("any")), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, user := range config.users {
		if err := os.Mkdir(d.home(user), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d.home(user), d.uid, d.uid); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			d.logLogs()
		}
	})
	var err error
	// A port that was free may be taken when Dovecot comes to it.
	for range 3 {
		d.writeConfig(config)
		if err = d.start(); err == nil {
			return d
		}
	}
	t.Fatalf("dovecot does not start: %v", err)
	return nil
}

// shortDir returns a new directory that every user may enter. It lies in /tmp
// for the sake of Dovecot's sockets, whose paths have room for 107 bytes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spareUID returns a uid that is nobody's on this machine.
func spareUID() int {
	for uid := 23456; ; uid++ {
		if _, err := user.LookupId(strconv.Itoa(uid)); err != nil {
			return uid
		}
	}
}

// freePort returns a TCP port that nobody listens on at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// home returns the home directory of a mail user.
func (d *dovecot) home(user string) string { return filepath.Join(d.dir, "home", user) }

func (d *dovecot) config() string   { return filepath.Join(d.dir, "dovecot.conf") }
func (d *dovecot) errorLog() string { return filepath.Join(d.dir, "error.log") }

// writeConfig writes dovecot.conf and the users' passwords. Only warnings and
// worse go to error.log. The limits are low since Dovecot warns where they
// exceed the number of open files that the machine allows.
func (d *dovecot) writeConfig(config dovecotConfig) {
	d.t.Helper()
	d.ports = make(map[string]int)
	var conf, passwd strings.Builder
	fmt.Fprintf(&conf, `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/error.log
info_log_path = %[1]s/info.log
listen = 127.0.0.1
login_greeting = %[1]s
protocols = %[2]s
ssl = no
disable_plaintext_auth = no
default_login_user = dovenull
default_internal_user = dovecot
default_client_limit = 100
default_process_limit = 20
first_valid_uid = %[3]d
first_valid_gid = %[3]d
mail_location = maildir:~/Maildir
postmaster_address = postmaster@example.jp
hostname = mail.example.jp
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/passwd
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/passwd
}
`, d.dir, strings.Join(config.protocols, " "), d.uid)
	for _, protocol := range config.protocols {
		d.ports[protocol] = freePort(d.t)
		fmt.Fprintf(&conf, `service %[1]s-login {
  inet_listener %[1]s {
    port = %[2]d
  }
  inet_listener %[1]ss {
    port = 0
  }
}
`, protocol, d.ports[protocol])
	}
	conf.WriteString(config.extra)
	for _, user := range config.users {
		password, ok := config.passwords[user]
		if !ok {
			password = dovecotPassword
		}
		fmt.Fprintf(&passwd, "%s:{PLAIN.b64}%s:%d:%d::%s::\n", user,
			base64.StdEncoding.EncodeToString([]byte(password)), d.uid, d.uid, d.home(user))
	}
	for name, text := range map[string]string{"dovecot.conf": conf.String(), "passwd": passwd.String()} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
}

// start starts the server and waits until all its ports answer.
func (d *dovecot) start() error {
	cmd := exec.Command("dovecot", "-F", "-c", d.config())
	// In a process group of its own, to see that all of it has gone; and it
	// goes, too, where the test is killed and no cleanup runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	output, err := os.Create(filepath.Join(d.dir, "output"))
	if err != nil {
		return err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for protocol, port := range d.ports {
		for deadline := time.Now().Add(patience); !d.answers(port); {
			select {
			case err := <-ended:
				return fmt.Errorf("dovecot ended: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				stopServer(d.t, "dovecot", cmd.Process.Pid, ended)
				return fmt.Errorf("no answer by %s on port %d", protocol, port)
			}
		}
	}
	d.t.Cleanup(func() { stopServer(d.t, "dovecot", cmd.Process.Pid, ended) })
	return nil
}

// answers reports whether this very server greets on the port.
func (d *dovecot) answers(port int) bool {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.Contains(line, d.dir)
}

// stopServer ends a server that leads the process group pid, and sees to it that
// none of its processes stays.
func stopServer[T any](t *testing.T, name string, pid int, ended <-chan T) {
	syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("%s does not end", name)
		syscall.Kill(-pid, syscall.SIGKILL)
		<-ended
	}
	if !until(func() bool { return !groupLives(pid) }) {
		t.Errorf("%s left processes behind", name)
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// groupLives reports whether a process group has processes. A dead one that its
// new parent, the init of this machine or container, has not noted counts not.
func groupLives(pgid int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		// pid (command) state ppid pgrp ...
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(pgid) && fields[0] != "Z" {
			return true
		}
	}
	return false
}

// logLogs shows what Dovecot wrote.
func (d *dovecot) logLogs() {
	for _, name := range []string{"output", "error.log", "info.log"} {
		text, err := os.ReadFile(filepath.Join(d.dir, name))
		if err == nil && len(text) > 0 {
			d.t.Logf("%s:\n%s", name, text)
		}
	}
}

// complaints returns Dovecot's warnings and errors so far.
func (d *dovecot) complaints() string {
	text, err := os.ReadFile(d.errorLog())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	return string(text)
}

// doveadm runs doveadm, which must succeed without a word of complaint.
func (d *dovecot) doveadm(args ...string) string {
	d.t.Helper()
	return d.run("", "doveadm", args...)
}

// doveadmRows runs doveadm and returns its answer as rows of named columns.
func (d *dovecot) doveadmRows(args ...string) []map[string]string {
	d.t.Helper()
	out := d.doveadm(append([]string{"-f", "json"}, args...)...)
	var rows []map[string]string
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		d.t.Fatalf("doveadm %q: %v: %s", args, err, out)
	}
	return rows
}

// run runs a command of Dovecot's with this server's configuration.
func (d *dovecot) run(stdin, command string, args ...string) string {
	d.t.Helper()
	cmd := exec.Command(command, append([]string{"-c", d.config()}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		d.t.Fatalf("%s %q: %v\n%s", command, args, err, stderr.String())
	}
	return stdout.String()
}

// save stores a message as an administrator does.
func (d *dovecot) save(user, folder, message string) {
	d.t.Helper()
	d.run(message, "doveadm", "save", "-u", user, "-m", folder)
}

// deliver stores a message as a mail server does.
func (d *dovecot) deliver(user, folder, message string) {
	d.t.Helper()
	d.run(message, dovecotLDA, "-d", user, "-f", "hanako@example.jp", "-m", folder)
}
