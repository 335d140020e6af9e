package applets

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/dialogue"
	"kowaza/internal/settings"
)

// An smtpSending is what was said about sending by SMTP.
type smtpSending struct {
	o      *jmailsendOptions
	wanted bool // a server is named
	server dialogue.Server
	per    int // copies on a connection
}

// The bounds of --per-connection.
const (
	defaultPerConnection = 100
	maxPerConnection     = 10000
)

// check returns the usage error that is in the options whatever the settings say.
func (s *smtpSending) check(set *cli.Set) error {
	o := s.o
	var err error
	s.per = defaultPerConnection
	if set.IsSet("per-connection") {
		if s.per, err = cli.Number("--per-connection", o.perConnection, 1, maxPerConnection); err != nil {
			return err
		}
	}
	switch {
	case !set.IsSet("server"):
		return nil
	case o.server == "":
		return s.unused(set)
	}
	s.wanted = true
	if s.server, err = smtpServer(o.server); err != nil {
		return cli.Usagef("--server: %s", err)
	}
	return o.serverOptions.check(set, s.server)
}

// unused returns the usage error that is in an option without use, for want of a server.
func (s *smtpSending) unused(set *cli.Set) error {
	for _, name := range append(slices.Clone(serverOptionNames), "per-connection") {
		if set.IsSet(name) {
			return cli.Usagef("--%s: there is no server: --server or JMAIL_SERVER", name)
		}
	}
	return nil
}

// smtpServer is dialogue.ParseServer for one that takes mail.
func smtpServer(text string) (dialogue.Server, error) {
	s, err := dialogue.ParseServer(text)
	if err == nil && s.POP3() {
		err = fmt.Errorf("%s takes no mail: not smtp or smtps", s.Scheme)
	}
	return s, err
}

// complete fills in what no option said from the settings. A login is that of a server:
// another one, which -s names, is not told the user and the password; and a user whom
// -u names has a password of his own.
func (s *smtpSending) complete(set *cli.Set, conf *settings.Settings) error {
	o := s.o
	named := set.IsSet("server")
	if conf.JMailServer != "" && (!named || s.wanted) {
		server, err := smtpServer(conf.JMailServer)
		switch {
		case named && (err != nil || server != s.server):
			conf.JMailUser, conf.JMailPasswordFile = "", ""
		case named:
		case err != nil:
			return fmt.Errorf("JMAIL_SERVER: %w", err)
		default:
			s.wanted, s.server = true, server
			if err := o.serverOptions.check(set, server); err != nil {
				return err
			}
		}
	}
	if !s.wanted {
		return s.unused(set)
	}
	if o.user == "" {
		o.user = conf.JMailUser
	}
	if o.passwordFile == "" && o.user != "" && (conf.JMailUser == "" || conf.JMailUser == o.user) {
		o.passwordFile = conf.JMailPasswordFile
	}
	return o.checkLogin()
}

// send sends the copies by SMTP and reports.
func (s *smtpSending) send(run *copyRun) error {
	cfg, err := s.o.config(run.env, s.server, func() (string, error) { return run.mail.host, nil })
	if err != nil {
		return err
	}
	r := smtpRun{copyRun: run, cfg: cfg, place: s.server.String(), per: s.per}
	if run.verbose {
		r.took = make([]float32, run.mail.count)
	}
	var end context.CancelFunc
	r.opening, end = context.WithCancel(context.Background())
	defer end()
	return run.all(r.place, r.send, end, r.figures)
}

// An smtpRun is a run of connections to a server that takes the copies.
type smtpRun struct {
	*copyRun
	cfg     *dialogue.Config
	place   string
	per     int             // copies on a connection
	opening context.Context // ends when no connection is to be made any more

	took     []float32 // by copy: milliseconds from MAIL to the answer; 0: not taken; nil: not wanted
	over     sync.Once // said: why no copy more can be sent
	eightBit sync.Once // said: that the server does not offer it
}

// maxLost is how many connections in a row may be lost, or not come about, before a
// worker gives up; one that has taken a copy begins the row anew.
const maxLost = 3

// send sends all copies. The first connection is made before any other: what the server
// refuses it for, a wrong password above all, is to be met once.
func (r *smtpRun) send() {
	// Without TLS there is hardly anything to compute: a second thread costs more in
	// waking each other than it does, and takes the time from a server on this machine
	// (10000 copies on 8 connections to smtp-sink: 0.27 s of processor time for 0.40 s).
	if !r.cfg.Server.TLS() && !r.cfg.TLS.Start {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	lost := 0
	first := r.connect(&lost)
	if first != nil {
		var once sync.Once
		r.workers(func() {
			w := smtpWorker{smtpRun: r}
			once.Do(func() { w.conn, w.lost = first, lost })
			w.work()
		})
	}
	r.env.WarnedAll(r.place)
	// Who has sent its last copy has drawn the number of another one.
	if left := r.mail.count - int(r.begun.Load()); left > 0 && r.opening.Err() == nil {
		r.env.Warn("%s: %s not sent", r.place, copies(left))
	}
}

// connect returns a new connection. Where there is none the worker has nothing more to do.
func (r *smtpRun) connect(lost *int) *dialogue.Conn {
	for *lost < maxLost && !r.stopped.Load() {
		conn, err := dialogue.Open(r.opening, r.cfg)
		if conn != nil {
			conn.Detach()
		}
		if err == nil && !r.stopped.Load() {
			return conn
		}
		if conn != nil {
			conn.Abandon()
		}
		if err == nil || r.opening.Err() != nil {
			return nil
		}
		e := err.(*dialogue.Error)
		r.failed.Store(true)
		if e.Lasting() {
			r.stopped.Store(true)
			r.over.Do(func() { r.env.Warn("%s: %s", r.place, dialogueError(e)) })
			return nil
		}
		*lost++
		r.env.WarnLikeKind(r.place, kindOf(e), r.place, dialogueError(e))
	}
	return nil
}

// kindOf says what failures are like each other.
func kindOf(e *dialogue.Error) string {
	kind := stepName(e.Step) + ": " + e.Kind()
	if e.Unknown {
		kind = notKnown + ": " + kind
	}
	return kind
}

// notKnown is said of a copy whose text was sent and whose answer never came.
const notKnown = "not known whether it was taken"

// An smtpWorker sends copies on a connection, and on another when that has ended.
type smtpWorker struct {
	*smtpRun
	conn *dialogue.Conn
	on   int // copies on conn
	lost int // connections in a row, see maxLost
	d    dialogue.Delivery
}

// work sends copies until there is none left.
func (w *smtpWorker) work() {
	w.d.From, w.d.To = w.mail.from, w.mail.to
	for !w.stopped.Load() && int(w.begun.Load()) < w.mail.count {
		if w.conn == nil {
			if w.conn, w.on = w.connect(&w.lost), 0; w.conn == nil {
				return
			}
		}
		n := w.next()
		if n == 0 {
			break
		}
		w.copy(n)
		if w.on++; w.on == w.per || w.conn.Over() {
			w.quit()
		}
	}
	if w.conn != nil {
		w.quit()
	}
}

// quit ends a connection. What the server says to that is of no account: what it was to
// do it has done.
func (w *smtpWorker) quit() {
	w.conn.Quit()
	w.conn = nil
}

// copy sends a copy. Whatever comes of it, it is not sent again.
func (w *smtpWorker) copy(n int) {
	fail := func(kind, why string) {
		w.failed.Store(true)
		w.env.WarnLikeKind(w.place, kind, w.what(n), why)
	}
	var err error
	if w.d.Text, err = w.mail.compose(n, w.env.Now()); err != nil {
		fail(err.Error(), err.Error())
		return
	}
	if w.verbose && w.conn.PlainEightBits(w.d.Text) {
		w.eightBit.Do(func() {
			w.env.Warn("%s: 8BITMIME is not offered: the text is sent as it is", w.place)
		})
	}
	w.d.Last = w.on+1 == w.per || n == w.mail.count
	began := time.Now()
	w.conn.SetDeadline(began.Add(w.cfg.Timeout))
	err = w.conn.Deliver(&w.d)
	if err == nil {
		if w.took != nil {
			w.took[n-1] = float32(time.Since(began).Seconds() * 1000)
		}
		w.sent.Add(1)
		w.lost = 0
		return
	}
	if w.conn.Over() {
		w.lost++
	}
	e := err.(*dialogue.Error)
	fail(kindOf(e), dialogueError(e))
}

// figures returns how long the copies that were taken took.
func (r *smtpRun) figures() string {
	took := slices.DeleteFunc(r.took, func(ms float32) bool { return ms == 0 })
	if len(took) == 0 {
		return ""
	}
	slices.Sort(took)
	at := func(percent int) float32 { return took[(len(took)*percent+99)/100-1] }
	return fmt.Sprintf("; milliseconds a copy: median %.1f, 95th percentile %.1f, maximum %.1f", at(50), at(95), at(100))
}

// dialogueError is an error as a message tells it.
func dialogueError(e *dialogue.Error) string {
	why := stepName(e.Step) + ": " + e.Why()
	if e.Unknown {
		why = notKnown + ": " + why
	}
	return why
}
