// Package dialogue is the client of SMTP (RFC 5321) and POP3 (RFC 1939): a line goes
// out, a reply comes in. It serves who wants to see what a server says, so it tells every
// line as it happens, believes nothing, and ends in time whatever the server does. It
// reads no options and no files and prints nothing.
//
// What is told, in lines, steps, replies and errors, holds neither a password nor
// anything by which one could be guessed. It is not escaped: a server may send any byte.
package dialogue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Config is what a dialogue is to be like. Several may be held by one Config, also at
// the same time.
type Config struct {
	Server  Server
	Network string        // ip, ip4 or ip6; empty: ip
	Timeout time.Duration // from the first look-up to the end of the dialogue, see SetDeadline
	TLS     TLSConfig
	Login   Login
	Helo    string // what we call ourselves; not needed for POP3

	Line func(at time.Duration, mark Mark, text string) // each line, as it happens; may be nil
	Step func(Step)                                     // each command with its reply; may be nil

	mu    sync.Mutex
	found []netip.Addr // of Server: a name is looked up once
}

// A Mark says who a line is from.
type Mark byte

// The marks.
const (
	TheyMark Mark = '<'
	WeMark   Mark = '>'
	NoteMark Mark = '*' // neither of us
)

// A Step is a command and its reply.
type Step struct {
	Name string        // one of the constants
	Took time.Duration // from the command to the end of the reply
	Sent string        // the command; the address for StepConnect; empty for StepGreeting
	Code string        // 250, +OK; empty where there is no reply
	Text string        // the lines of the reply, without codes; or what went wrong
}

// The names of steps.
const (
	StepConnect  = "connect"
	StepGreeting = "greeting"
	StepEHLO     = "ehlo" // and CAPA
	StepSTARTTLS = "starttls"
	StepTLS      = "tls"
	StepLogin    = "login"
	StepMail     = "mail"
	StepRcpt     = "rcpt"
	StepData     = "data"
	StepMessage  = "message"
	StepCommand  = "command"
	StepQuit     = "quit"
)

// An Error is a step that failed.
type Error struct {
	Step    string
	Reply   string // what the server refused it with, on one line; empty: Err tells
	Err     error
	Unknown bool // the message was sent, and whether it was taken is not known

	code string // of the reply
	lost bool   // the connection was, or had to be given up
}

func (e *Error) Error() string { return e.Step + ": " + e.Why() }
func (e *Error) Unwrap() error { return e.Err }

// Lasting reports whether another connection would meet the same: the server's certificate
// or what it offers is not what was asked for, or the login failed. A connection that was
// lost says nothing of the next, unless our password had been sent: a server may end
// it for that.
func (e *Error) Lasting() bool {
	switch e.Step {
	case StepLogin:
		return e.Err != context.Canceled
	case StepSTARTTLS, StepTLS:
		return !e.lost
	}
	return false
}

// Why returns the reply, or what went wrong, without the step.
func (e *Error) Why() string {
	if e.Err == nil {
		return e.Reply
	}
	return e.Err.Error()
}

// Kind returns Why without what the server's words are: failures of one kind are alike,
// and there are not many kinds.
func (e *Error) Kind() string {
	var bad *badReply
	switch {
	case e.Err == nil:
		return e.code
	case errors.As(e.Err, &bad):
		return bad.why
	}
	return e.Err.Error()
}

// The bounds of a reply: RFC 5321, 4.5.3.1.5 has 512 bytes for a line, and servers send
// more.
const (
	maxLine  = 8192 // bytes, without the line end
	maxLines = 1000
)

// A Conn is a dialogue.
type Conn struct {
	cfg     *Config
	start   time.Time
	ctx     context.Context
	address netip.AddrPort

	mu       sync.Mutex // guards what Interrupt uses
	nc       net.Conn
	deadline time.Time
	stopped  bool
	forget   func() bool // the context

	r            *bufio.Reader
	greeting     string // POP3's, for APOP
	capabilities []string
	tls          *TLS
	mechanism    string
	secrets      secrets
	last         Reply
	over         bool // nothing more can be said
	quitSaid     bool // and not answered yet
	pipelining   bool // what the server offers
	eightBit     bool
	inData       bool // what is sent now is a message
}

// Open connects, reads the greeting, says EHLO (CAPA), begins TLS and logs in, as far as
// that is asked for. The error is an *Error; who gets one together with a Conn may still
// say Quit. Cancelling ctx ends the dialogue at once.
func Open(ctx context.Context, cfg *Config) (*Conn, error) {
	c := &Conn{cfg: cfg, start: time.Now(), ctx: ctx}
	c.deadline = c.start.Add(cfg.Timeout)
	if err := c.connect(); err != nil {
		return nil, err
	}
	c.forget = context.AfterFunc(ctx, c.interrupt)
	return c, c.begin()
}

// begin says all that comes before what the dialogue is for.
func (c *Conn) begin() error {
	if c.cfg.Server.TLS() {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	began := time.Now()
	greeting, err := c.readReply(StepGreeting)
	c.tell(StepGreeting, began, "", greeting, err)
	if err != nil {
		return err
	}
	if greeting.Sign != "+OK" && greeting.Code != 220 {
		return c.refused(StepGreeting, greeting)
	}
	c.greeting = greeting.raw[0]
	if err := c.hello(); err != nil {
		return err
	}
	if c.cfg.TLS.Start && !c.cfg.Server.TLS() {
		if err := c.startTLS(); err != nil {
			return err
		}
		if err := c.hello(); err != nil { // RFC 3207, 4.2: what was said before counts no more
			return err
		}
	}
	if c.cfg.Login.User != "" {
		return c.login()
	}
	return nil
}

func (c *Conn) hello() error {
	if c.cfg.Server.POP3() {
		return c.capa()
	}
	return c.ehlo()
}

// connect tries the addresses of the server in order. Each gets its part of the time that
// is left.
func (c *Conn) connect() error {
	s := c.cfg.Server
	ctx, cancel := context.WithDeadline(c.ctx, c.deadline)
	defer cancel()
	addresses, err := c.lookUp(ctx)
	if err != nil {
		return c.failed(StepConnect, err)
	}
	for i, a := range addresses {
		c.address = netip.AddrPortFrom(a, uint16(s.Port))
		shown := fmt.Sprintf("[%s]:%d", a, s.Port)
		if s.Host != a.String() {
			shown = s.Host + " " + shown
		}
		c.line(NoteMark, shown)
		began := time.Now()
		part := time.Until(c.deadline) / time.Duration(len(addresses)-i)
		var nc net.Conn
		dialer := net.Dialer{Deadline: began.Add(part)}
		nc, err = dialer.DialContext(ctx, "tcp", c.address.String())
		if err == nil {
			c.tell(StepConnect, began, shown, Reply{}, nil)
			c.use(nc)
			return nil
		}
		err = c.failed(StepConnect, err)
		c.tell(StepConnect, began, shown, Reply{}, err)
		if i < len(addresses)-1 {
			c.line(NoteMark, err.(*Error).Why())
		}
		if c.ctx.Err() != nil {
			break
		}
	}
	if err, ok := err.(*Error); ok && err.Err != nil {
		err.Err = fmt.Errorf("%s: %w", c.address, err.Err)
	}
	return err
}

func (c *Conn) lookUp(ctx context.Context) ([]netip.Addr, error) {
	s := c.cfg.Server
	network := c.cfg.Network
	if network == "" {
		network = "ip"
	}
	if a, err := netip.ParseAddr(s.Host); err == nil {
		if network == "ip4" && !a.Is4() || network == "ip6" && a.Is4() {
			return nil, fmt.Errorf("%s: not an address of IPv%s", s.Host, network[2:])
		}
		return []netip.Addr{a}, nil
	}
	c.cfg.mu.Lock()
	defer c.cfg.mu.Unlock()
	if c.cfg.found != nil {
		return c.cfg.found, nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, network, s.Host)
	var dns *net.DNSError
	if errors.As(err, &dns) && !dns.IsTimeout && ctx.Err() == nil {
		err = fmt.Errorf("%s: %s", s.Host, dns.Err)
	}
	if err != nil {
		return nil, err
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	c.cfg.found = addresses
	return addresses, nil
}

// use takes a connection for what is said from now on.
func (c *Conn) use(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc = nc
	c.r = bufio.NewReaderSize(nc, maxLine+2)
	nc.SetDeadline(c.deadline)
	if c.stopped {
		nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// SetDeadline sets the time by which what is said next must be over, in place of the
// one that Config.Timeout has set.
func (c *Conn) SetDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	if !c.stopped {
		c.nc.SetDeadline(t)
	}
}

// Detach makes the dialogue go on when the context of Open is cancelled from now on.
func (c *Conn) Detach() {
	if c.forget() {
		c.ctx = context.WithoutCancel(c.ctx)
	}
}

// interrupt ends what waits for the server.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// paused moves the deadline by a time in which the server had nothing to do.
func (c *Conn) paused(since time.Time) {
	c.SetDeadline(c.deadline.Add(time.Since(since)))
}

// Address returns where the dialogue is held.
func (c *Conn) Address() netip.AddrPort { return c.address }

// Capabilities returns what the server offers: the lines of its answer to EHLO but the
// first, or to CAPA.
func (c *Conn) Capabilities() []string { return c.capabilities }

// TLSState returns what is known of TLS; nil without it.
func (c *Conn) TLSState() *TLS { return c.tls }

// Mechanism returns by which mechanism the login was tried; empty where none was.
func (c *Conn) Mechanism() string { return c.mechanism }

// Last returns the last reply.
func (c *Conn) Last() Reply { return c.last }

// Over reports whether nothing more can be said: the connection has ended, or the server
// has said that it will end.
func (c *Conn) Over() bool { return c.over || c.inData }

// Note tells a line of ours.
func (c *Conn) Note(text string) { c.line(NoteMark, text) }

func (c *Conn) line(mark Mark, text string) {
	if c.cfg.Line != nil {
		c.cfg.Line(time.Since(c.start), mark, text)
	}
}

// tell tells a step.
func (c *Conn) tell(name string, began time.Time, sent string, r Reply, err error) {
	if c.cfg.Step == nil {
		return
	}
	step := Step{Name: name, Took: time.Since(began), Sent: sent, Code: r.code(), Text: strings.TrimPrefix(strings.Join(r.shown, "\n"), "\n")}
	if e, ok := err.(*Error); ok && e.Err != nil {
		step.Text = e.Err.Error()
	}
	c.cfg.Step(step)
}

// write sends bytes. Once that has failed nothing more can be said.
func (c *Conn) write(step string, b []byte) error {
	_, err := c.writeSome(step, b)
	return err
}

// writeSome is write that tells how many bytes have been sent.
func (c *Conn) writeSome(step string, b []byte) (int, error) {
	if c.over {
		return 0, c.failed(step, errEnded)
	}
	n, err := c.nc.Write(b)
	if err != nil {
		c.over = true
		return n, c.failed(step, err)
	}
	return n, nil
}

var (
	errEnded   = errors.New("the connection has ended")
	errClosed  = errors.New("the server closed the connection")
	errMidLine = errors.New("the server closed the connection in the middle of a line")
)

// Do sends a line of the protocol and reads the reply. The error is that there is none;
// a reply that refuses is none.
func (c *Conn) Do(step, line string) (Reply, error) { return c.exchange(step, line, line) }

// exchange is Do for a line that is shown as another.
func (c *Conn) exchange(step, line, shown string) (Reply, error) {
	began := time.Now()
	c.line(WeMark, shown)
	if err := c.write(step, []byte(line+"\r\n")); err != nil {
		c.tell(step, began, shown, Reply{}, err)
		return Reply{}, err
	}
	r, err := c.readReply(step)
	c.tell(step, began, shown, r, err)
	return r, err
}

// failed makes an Error of what went wrong, in words that tell no system call.
func (c *Conn) failed(step string, err error) error {
	var errno syscall.Errno
	lost := isEOF(err) || isTimeout(err) || errors.Is(err, errClosed) || errors.Is(err, errMidLine) || errors.Is(err, errEnded)
	switch {
	case c.ctx.Err() == context.Canceled:
		err = context.Canceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		err = timeoutError(c.cfg.Timeout)
	case errors.As(err, &errno):
		err = errno
	}
	return &Error{Step: step, Err: err, lost: lost}
}

// A timeoutError is that the time is over which there was. It is os.ErrDeadlineExceeded.
type timeoutError time.Duration

func (t timeoutError) Error() string {
	if seconds := time.Duration(t).Seconds(); seconds != 1 {
		return fmt.Sprintf("not done within %g seconds", seconds)
	}
	return "not done within 1 second"
}

func (t timeoutError) Is(err error) bool { return err == os.ErrDeadlineExceeded }

// isEOF reports whether an error of reading is that the server is gone.
func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// refused makes an Error of a reply.
func (c *Conn) refused(step string, r Reply) error {
	return &Error{Step: step, Reply: r.String(), code: r.code(), lost: r.Code == 421}
}

// readLine reads a line of a reply, without its end. The error says why there is none.
func (c *Conn) readLine(step string) ([]byte, error) {
	b, err := c.r.ReadSlice('\n')
	switch {
	case err == nil:
		b = bytes.TrimSuffix(b[:len(b)-1], []byte("\r"))
		if len(b) > maxLine {
			break
		}
		return b, nil
	case err == bufio.ErrBufferFull:
	default:
		c.over = c.ctx.Err() != context.Canceled
		if len(b) > 0 {
			c.line(TheyMark, c.secrets.mask(string(b)))
		}
		if isEOF(err) {
			if err = errClosed; len(b) > 0 {
				err = errMidLine
			}
		}
		return nil, c.failed(step, err)
	}
	c.over = true
	const shown = 200
	c.line(TheyMark, c.secrets.mask(string(b[:shown]))+"...")
	return nil, c.failed(step, fmt.Errorf("a line of the reply is longer than %d bytes", maxLine))
}

// Quit says QUIT, reads the answer and closes the connection. It does nothing where
// nothing more can be said. The error is an *Error.
func (c *Conn) Quit() error {
	defer c.Close()
	if c.Over() {
		return nil
	}
	var r Reply
	var err error
	if c.quitSaid {
		r, err = c.readReply(StepQuit)
	} else {
		r, err = c.Do(StepQuit, "QUIT")
	}
	if err == nil && !r.Good() {
		err = c.refused(StepQuit, r)
	}
	return err
}

// Abandon closes the connection. Where a command could stand, QUIT is said before; its
// answer is not waited for.
func (c *Conn) Abandon() {
	if !c.Over() && !c.quitSaid {
		c.line(WeMark, "QUIT")
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		c.nc.Write([]byte("QUIT\r\n"))
	}
	c.Close()
}

// Close closes the connection without a word. A message that is being sent is not taken
// by the server then: RFC 5321, 4.1.1.4.
func (c *Conn) Close() {
	c.over = true
	c.forget()
	c.nc.Close()
}
