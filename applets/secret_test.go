package applets

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell runs the applet as an interactive shell would: in a process group of
// its own, which has the terminal, in a session that outlives it. It says what
// becomes of it on descriptor 5 and ends when descriptor 4 does. Without it the
// applet would be the session's leader, with whose end the kernel hangs the
// terminal up and sets it as new: nobody could tell whether the echo is back.
func shell() {
	tty, life, report := 3, os.NewFile(4, "life"), os.NewFile(5, "report")
	unix.CloseOnExec(tty)
	unix.CloseOnExec(4)
	unix.CloseOnExec(5)
	for _, name := range strings.Fields(os.Getenv("KOWAZA_TEST_IGNORE")) {
		signal.Ignore(unix.SignalNum(name))
	}
	start, started, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	os.Setenv("KOWAZA_TEST_AS", asApplet)
	p, err := os.StartProcess(os.Args[0], os.Args[1:], &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, start},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		panic(err)
	}
	// Nobody but the applet may keep the test's pipes open.
	os.Stdin.Close()
	os.Stdout.Close()
	os.Stderr.Close()
	if err := unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, p.Pid); err != nil {
		panic(err)
	}
	started.Close()
	fmt.Fprintf(report, "pid %d\n", p.Pid)
	go func() {
		io.Copy(io.Discard, life)
		syscall.Kill(p.Pid, syscall.SIGKILL)
		os.Exit(0)
	}()
	for {
		var st syscall.WaitStatus
		_, err := syscall.Wait4(p.Pid, &st, syscall.WUNTRACED|syscall.WCONTINUED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			panic(err)
		case st.Stopped():
			fmt.Fprintf(report, "stopped by %s\n", unix.SignalName(st.StopSignal()))
		case st.Continued():
			fmt.Fprintln(report, "continued")
		case st.Signaled():
			fmt.Fprintf(report, "killed by %s\n", unix.SignalName(st.Signal()))
			select {}
		default:
			fmt.Fprintf(report, "exit %d\n", st.ExitStatus())
			select {}
		}
	}
}

// A terminalRun is an applet that runs on a terminal, and who sits before it.
type terminalRun struct {
	t       *testing.T
	master  *os.File // the other side of the terminal
	slave   *os.File // held open, so that no end of a process hangs it up
	before  unix.Termios
	pid     int
	reports chan string
	ended   string // the last report, once it has ended

	mu             sync.Mutex
	screen         []byte // all that came to the terminal
	resumed        bool   // the terminal has obeyed a ^Q
	stdout, stderr bytes.Buffer
	outputs        sync.WaitGroup
}

// A scene is how such a run begins: standard input and output are the terminal
// and a pipe unless they are set.
type scene struct {
	stdin  *os.File
	stdout *os.File
	ignore string // signals that the applet inherits ignored
	tune   func(*unix.Termios)
}

// converse starts an applet on a new terminal.
func converse(t *testing.T, s scene, argv ...string) *terminalRun {
	t.Helper()
	d := &terminalRun{t: t, reports: make(chan string, 16)}
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("SKIP no pseudo-terminal: %v", err)
	}
	d.master = os.NewFile(uintptr(master), "/dev/ptmx")
	must(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	must(t, unix.IoctlSetPointerInt(master, unix.TIOCPKT, 1)) // for received
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	must(t, err)
	d.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	if s.tune != nil {
		termios := d.termios()
		s.tune(&termios)
		must(t, unix.IoctlSetTermios(master, unix.TCSETS, &termios))
	}
	d.before = d.termios()

	lifeR, life, err := os.Pipe()
	must(t, err)
	reports, reportsW, err := os.Pipe()
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := &exec.Cmd{
		Path:        self,
		Args:        append([]string{self}, argv...),
		Env:         append(os.Environ(), "KOWAZA_TEST_AS="+asShell, "KOWAZA_TEST_IGNORE="+s.ignore),
		Stdin:       d.slave,
		ExtraFiles:  []*os.File{d.slave, lifeR, reportsW},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3},
	}
	if s.stdin != nil {
		cmd.Stdin = s.stdin
	}
	ours := []*os.File{lifeR, reportsW}
	if s.stdout != nil {
		cmd.Stdout = s.stdout
	} else {
		w := d.collect(&d.stdout)
		cmd.Stdout = w
		ours = append(ours, w)
	}
	w := d.collect(&d.stderr)
	cmd.Stderr = w
	ours = append(ours, w)
	must(t, cmd.Start())
	for _, f := range ours {
		f.Close()
	}

	watched := make(chan struct{})
	go func() {
		defer close(watched)
		buf := make([]byte, 1024)
		for {
			n, err := d.master.Read(buf)
			d.mu.Lock()
			switch { // the first byte of a packet says what it is, tty_ioctl(4)
			case n > 0 && buf[0] == unix.TIOCPKT_DATA:
				d.screen = append(d.screen, buf[1:n]...)
			case n > 0 && buf[0]&unix.TIOCPKT_START != 0:
				d.resumed = true
			}
			d.mu.Unlock()
			if err != nil {
				return // EIO: the last one has left the terminal
			}
		}
	}()
	go func() {
		for s := bufio.NewScanner(reports); s.Scan(); {
			d.reports <- s.Text()
		}
		close(d.reports)
	}()
	t.Cleanup(func() {
		life.Close()
		cmd.Wait()
		d.slave.Close()
		<-watched
		d.master.Close()
		reports.Close()
	})
	if _, err := fmt.Sscanf(d.report(), "pid %d", &d.pid); err != nil {
		t.Fatal(err)
	}
	return d
}

// collect returns the write end of a pipe whose content goes to b.
func (d *terminalRun) collect(b *bytes.Buffer) *os.File {
	r, w, err := os.Pipe()
	must(d.t, err)
	d.outputs.Go(func() {
		io.Copy(b, r)
		r.Close()
	})
	return w
}

// report returns what the shell says next.
func (d *terminalRun) report() string {
	d.t.Helper()
	select {
	case s, ok := <-d.reports:
		if !ok {
			d.t.Fatal("the shell has died")
		}
		return s
	case <-time.After(patience):
		d.t.Fatalf("nothing happens; on the screen: %q", d.seen())
	}
	return ""
}

// expect fails unless that is what the shell says next.
func (d *terminalRun) expect(want string) {
	d.t.Helper()
	if got := d.report(); got != want {
		d.t.Fatalf("%s; want %s (screen %q)", got, want, d.seen())
	}
}

// end waits for the end of the applet and checks how it ended. However it did,
// the terminal must be as it was.
func (d *terminalRun) end(want ...string) {
	d.t.Helper()
	for d.ended = d.report(); d.ended == "continued"; d.ended = d.report() {
	}
	d.outputs.Wait()
	ok := false
	for _, w := range want {
		ok = ok || d.ended == w
	}
	if !ok {
		d.t.Errorf("%s; want %q; stderr %.200q", d.ended, want, d.stderr.String())
	}
	d.asBefore()
}

func (d *terminalRun) asBefore() {
	d.t.Helper()
	if now := d.termios(); now != d.before {
		d.t.Fatalf("terminal left as %+v\nit was %+v", now, d.before)
	}
}

func (d *terminalRun) termios() unix.Termios {
	d.t.Helper()
	// By the slave; the master would answer the same.
	t, err := unix.IoctlGetTermios(int(d.slave.Fd()), unix.TCGETS)
	must(d.t, err)
	return *t
}

func (d *terminalRun) echo() bool { return d.termios().Lflag&unix.ECHO != 0 }

func (d *terminalRun) seen() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.screen)
}

// sees waits until the screen holds exactly that.
func (d *terminalRun) sees(want string) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); d.seen() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("on the screen: %q; want %q", d.seen(), want)
		}
	}
}

// prompted waits for the prompt, with which the echo must be off.
func (d *terminalRun) prompted() {
	d.t.Helper()
	d.sees(prompt)
	if d.echo() {
		d.t.Error("the prompt is there, the echo still on")
	}
}

func (d *terminalRun) types(keys string) {
	d.t.Helper()
	_, err := d.master.WriteString(keys)
	must(d.t, err)
}

// received waits until the terminal has taken in all that was typed, half a line
// too: ^S and ^Q are obeyed behind it.
func (d *terminalRun) received() {
	d.t.Helper()
	d.types("\x13\x11")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		d.mu.Lock()
		resumed := d.resumed
		d.mu.Unlock()
		if resumed {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatal("the terminal takes nothing in")
		}
	}
}

// left returns what was typed and has been read by nobody: what the shell, or
// whatever asks next, would get.
func (d *terminalRun) left() string {
	d.t.Helper()
	t := d.termios()
	t.Lflag &^= unix.ICANON
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 0, 0
	must(d.t, unix.IoctlSetTermios(int(d.slave.Fd()), unix.TCSETS, &t))
	buf := make([]byte, 100)
	n, err := unix.Read(int(d.slave.Fd()), buf)
	must(d.t, err)
	return string(buf[:n])
}

func (d *terminalRun) kill(sig syscall.Signal) {
	d.t.Helper()
	must(d.t, syscall.Kill(d.pid, sig))
}

// check compares what was printed and what was seen.
func (d *terminalRun) check(stdout, stderr, screen string) {
	d.t.Helper()
	if d.stdout.String() != stdout || d.stderr.String() != stderr {
		d.t.Errorf("stdout %q, stderr %.200q; want %q, %q", d.stdout.String(), d.stderr.String(), stdout, stderr)
	}
	d.sees(screen)
}

const prompt = "Password: "

// The challenge and the secret of RFC 1939, section 7.
const (
	challenge = "<1896.697170952@dbc.mtview.ca.us>"
	secret    = "tanstaaf"
	digest    = "c4c9334bac560ecc979e58001b3e22fb\n"
)

// TestSecretTyped proves that the prompt is on the terminal and not on standard
// output, that nothing typed is seen, and that the echo is back afterwards.
func TestSecretTyped(t *testing.T) {
	for _, test := range []struct {
		name, keys string
		argv       []string
		stdout     string
	}{
		{"mkdigest", secret + "\n", []string{"mkdigest", "-p", challenge}, digest},
		{"smtpauthstr", "passwd\n", []string{"smtpauthstr", "hanako"}, "aGFuYWtvAGhhbmFrbwBwYXNzd2Q=\n"},
		{"the return key", secret + "\r", []string{"mkdigest", "-p", challenge}, digest},
		{"corrected", "tanx\x7fstaafff\x7f\x7f\n", []string{"mkdigest", "-p", challenge}, digest},
		{"begun anew", "wrong\x15" + secret + "\n", []string{"mkdigest", "-p", challenge}, digest},
		{"EOF behind it", secret + "\x04\x04", []string{"mkdigest", "-p", challenge}, digest},
		{"empty", "\n", []string{"mkdigest", "-p", challenge + secret}, digest},
		{"UTF-8", "秘密\n", []string{"smtpauthstr", "ユーザ"}, "44Om44O844K2AOODpuODvOOCtgDnp5jlr4Y=\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := converse(t, scene{}, test.argv...)
			d.prompted()
			d.types(test.keys)
			d.end("exit 0")
			d.check(test.stdout, "", prompt+"\r\n")
		})
	}
}

// TestSecretPieces proves that nothing is seen of what is typed key by key.
func TestSecretPieces(t *testing.T) {
	d := converse(t, scene{}, "mkdigest", "-p", challenge)
	d.prompted()
	for _, key := range secret {
		d.types(string(key))
		if d.echo() || d.seen() != prompt {
			t.Errorf("after %c: echo %v, screen %q", key, d.echo(), d.seen())
		}
	}
	d.types("\n")
	d.end("exit 0")
	d.check(digest, "", prompt+"\r\n")
}

// TestSecretEnd proves that an EOF instead of a password is an error, with the
// terminal as it was.
func TestSecretEnd(t *testing.T) {
	d := converse(t, scene{}, "mkdigest", "-p", challenge)
	d.prompted()
	d.types("\x04")
	d.end("exit 1")
	d.check("", "mkdigest: no password\n", prompt+"\r\n")
}

// TestSecretOddTerminal proves that a terminal that was set otherwise, without
// echo, without lines or without signals, asks all the same and is left so.
func TestSecretOddTerminal(t *testing.T) {
	for name, tune := range map[string]func(*unix.Termios){
		"no echo":    func(t *unix.Termios) { t.Lflag &^= unix.ECHO },
		"no lines":   func(t *unix.Termios) { t.Lflag &^= unix.ICANON },
		"no signals": func(t *unix.Termios) { t.Lflag &^= unix.ISIG },
		"no CR":      func(t *unix.Termios) { t.Iflag &^= unix.ICRNL },
	} {
		t.Run(name, func(t *testing.T) {
			d := converse(t, scene{tune: tune}, "mkdigest", "-p", challenge)
			d.prompted()
			d.types(secret + "\r")
			d.end("exit 0")
			d.check(digest, "", prompt+"\r\n")

			d = converse(t, scene{tune: tune}, "mkdigest", "-p", challenge)
			d.prompted()
			d.types("tan\x03")
			d.end("killed by SIGINT")
			d.check("", "", prompt+"\r\n")
		})
	}
}

// TestSecretSignals proves, many times over, that every signal that ends the
// applet at the prompt leaves the terminal as it was and says nothing; that
// signals of the terminal and of other processes do the same; that SIGQUIT
// leaves no dump.
func TestSecretSignals(t *testing.T) {
	for _, test := range []struct {
		name string
		send func(d *terminalRun)
		want string
	}{
		{"typed INT", func(d *terminalRun) { d.types("\x03") }, "killed by SIGINT"},
		{"INT", func(d *terminalRun) { d.kill(syscall.SIGINT) }, "killed by SIGINT"},
		{"TERM", func(d *terminalRun) { d.kill(syscall.SIGTERM) }, "killed by SIGTERM"},
		{"HUP", func(d *terminalRun) { d.kill(syscall.SIGHUP) }, "killed by SIGHUP"},
		{"typed QUIT", func(d *terminalRun) { d.types("\x1c") }, "exit 131"},
		{"QUIT", func(d *terminalRun) { d.kill(syscall.SIGQUIT) }, "exit 131"},
		{"ABRT", func(d *terminalRun) { d.kill(syscall.SIGABRT) }, "exit 134"},
		{"ILL", func(d *terminalRun) { d.kill(syscall.SIGILL) }, "exit 132"},
		{"TRAP", func(d *terminalRun) { d.kill(syscall.SIGTRAP) }, "exit 133"},
		{"SYS", func(d *terminalRun) { d.kill(syscall.SIGSYS) }, "exit 159"},
		{"SEGV", func(d *terminalRun) { d.kill(syscall.SIGSEGV) }, "exit 139"},
		{"BUS", func(d *terminalRun) { d.kill(syscall.SIGBUS) }, "exit 135"},
		{"FPE", func(d *terminalRun) { d.kill(syscall.SIGFPE) }, "exit 136"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for i := range 20 {
				d := converse(t, scene{}, "mkdigest", "-p", challenge)
				d.prompted()
				if i%2 == 1 {
					d.types("tan") // in the midst of the line
					d.received()
				}
				test.send(d)
				d.end(test.want)
				d.check("", "", prompt+"\r\n")
			}
		})
	}
}

// TestSecretRest proves that half a password that was typed before a signal is
// not left to the next program on the terminal: a shell would show it.
func TestSecretRest(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			d := converse(t, scene{}, "mkdigest", "-p", challenge)
			d.prompted()
			d.types("tan")
			d.received()
			d.kill(sig)
			d.report()
			if left := d.left(); left != "" {
				t.Errorf("the next program reads %q", left)
			}
		})
	}
}

// TestSecretRaces proves that a signal at any moment, before the prompt or
// together with the last key, leaves the terminal as it was: the applet ends by
// it, or it came too late.
func TestSecretRaces(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		name := unix.SignalName(sig)
		killed := "killed by " + name
		if sig == syscall.SIGQUIT {
			killed = "exit 131"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 20 {
				// Before the prompt. SIGQUIT may still have its default, or that of
				// Go, which is a dump, but nothing has been typed.
				d := converse(t, scene{}, "mkdigest", "-p", challenge)
				for end := time.Now().Add(time.Duration(i) * 500 * time.Microsecond); time.Now().Before(end); {
				}
				d.kill(sig)
				d.end(killed, "killed by "+name, "exit 2")
				if d.stdout.Len() != 0 {
					t.Errorf("stdout %q", d.stdout.String())
				}

				// Together with the newline.
				d = converse(t, scene{}, "mkdigest", "-p", challenge)
				d.prompted()
				d.types(secret + "\n")
				for end := time.Now().Add(time.Duration(i) * 20 * time.Microsecond); time.Now().Before(end); {
				}
				syscall.Kill(d.pid, sig) // the process may be gone already
				d.end(killed, "exit 0", "exit 2")
				if out := d.stdout.String(); out != "" && out != digest {
					t.Errorf("stdout %q", out)
				}
				if d.ended == "exit 2" && sig != syscall.SIGQUIT {
					t.Errorf("%s, stderr %q", d.ended, d.stderr.String())
				}
				if strings.Contains(d.stderr.String(), secret) {
					t.Errorf("the password is in %q", d.stderr.String())
				}
			}
		})
	}
}

// TestSecretStop proves that the echo is back while the applet is stopped, that
// it asks again when it goes on, and that what was typed before is forgotten or
// not seen, but never shown.
func TestSecretStop(t *testing.T) {
	for _, test := range []struct {
		name string
		stop func(d *terminalRun)
	}{
		{"typed", func(d *terminalRun) { d.types("\x1a") }},
		{"TSTP", func(d *terminalRun) { d.kill(syscall.SIGTSTP) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				d := converse(t, scene{}, "mkdigest", "-p", challenge)
				d.prompted()
				screen := prompt
				for range 2 {
					test.stop(d)
					if got := d.report(); got != "stopped by SIGTSTP" && got != "stopped by SIGSTOP" {
						t.Fatalf("%s; want stopped", got)
					}
					d.asBefore()
					screen += "\r\n"
					d.sees(screen)
					d.kill(syscall.SIGCONT)
					d.expect("continued")
					screen += prompt
					d.sees(screen)
					if d.echo() {
						t.Error("asked again with the echo on")
					}
				}
				d.types(secret + "\n")
				d.end("exit 0")
				d.check(digest, "", screen+"\r\n")

				// Stopped and ended by a signal that waits until it goes on.
				d = converse(t, scene{}, "mkdigest", "-p", challenge)
				d.prompted()
				test.stop(d)
				d.report()
				d.kill(syscall.SIGTERM)
				d.kill(syscall.SIGCONT)
				d.end("killed by SIGTERM")
				if d.stdout.Len()+d.stderr.Len() != 0 {
					t.Errorf("stdout %q, stderr %q", d.stdout.String(), d.stderr.String())
				}
			}
		})
	}
}

// TestSecretIgnored proves that what the caller has ignored, as nohup does,
// stays ignored: the echo stays off, and the question stands. Go lets a program
// know that of these two signals alone.
func TestSecretIgnored(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			d := converse(t, scene{ignore: unix.SignalName(sig)}, "mkdigest", "-p", challenge)
			d.prompted()
			for range 5 {
				d.kill(sig)
			}
			// That nothing happens has no event of its own.
			for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if d.echo() || d.seen() != prompt {
					t.Fatalf("echo %v, screen %q", d.echo(), d.seen())
				}
			}
			d.types(secret + "\n")
			d.end("exit 0")
			d.check(digest, "", prompt+"\r\n")
		})
	}
}

// TestSecretHangup proves that a terminal that goes away ends the applet.
func TestSecretHangup(t *testing.T) {
	d := converse(t, scene{}, "mkdigest", "-p", challenge)
	d.prompted()
	must(t, syscall.Kill(-d.pid, syscall.SIGHUP))
	d.end("killed by SIGHUP")
	d.check("", "", prompt+"\r\n")
}

// TestSecretOutputFull proves that a digest that could not be written is an
// error, with the terminal as it was.
func TestSecretOutputFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	for _, argv := range [][]string{{"mkdigest", "-p", challenge}, {"smtpauthstr", "hanako"}} {
		d := converse(t, scene{stdout: full}, argv...)
		d.prompted()
		d.types(secret + "\n")
		d.end("exit 1")
		d.check("", argv[0]+": standard output: no space left on device\n", prompt+"\r\n")
	}
}

// TestSecretFromPipe proves that a standard input that is no terminal is read
// though there is one, which is left alone; and that a usage error asks nothing.
func TestSecretFromPipe(t *testing.T) {
	in := openers["pipe"](t, secret+"\nmore\n")
	defer in.Close()
	d := converse(t, scene{stdin: in}, "mkdigest", "-p", challenge)
	d.end("exit 0")
	d.check(digest, "", "")

	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	d = converse(t, scene{stdin: null}, "smtpauthstr", "hanako")
	d.end("exit 1")
	d.check("", "smtpauthstr: standard input: no password\n", "")

	for _, argv := range [][]string{{"mkdigest", "-p"}, {"smtpauthstr"}, {"smtpauthstr", "-c", "?", "u"}, {"smtpauthstr", "-l", "-z", "", "u"}} {
		d = converse(t, scene{}, argv...)
		d.end("exit 2")
		d.sees("")
	}
}

// TestSecretNotInProc proves that a typed password is in neither the arguments
// nor the environment of the process, which ps shows.
func TestSecretNotInProc(t *testing.T) {
	// A pipe without room holds the applet up at its last write.
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	must(t, err)
	filling := bytes.Repeat([]byte("."), size)
	_, err = w.Write(filling)
	must(t, err)

	d := converse(t, scene{stdout: w}, "mkdigest", "-p", challenge)
	w.Close()
	d.prompted()
	d.types(secret + "\n")
	d.sees(prompt + "\r\n") // it has been read
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(d.pid), name))
		must(t, err)
		if !bytes.Contains(text, []byte("mkdigest")) && name == "cmdline" || len(text) == 0 {
			t.Errorf("%s is %q", name, text)
		}
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s holds the password: %q", name, text)
		}
	}
	out, err := io.ReadAll(r)
	must(t, err)
	d.end("exit 0")
	if got := strings.TrimLeft(string(out), "."); got != digest {
		t.Errorf("%q; want %q", got, digest)
	}
}
