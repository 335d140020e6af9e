package dialogue

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"kowaza/internal/message"
)

// ehlo says EHLO, and HELO to a server that does not know it: RFC 5321, 3.2.
func (c *Conn) ehlo() error {
	r, err := c.Do(StepEHLO, "EHLO "+c.cfg.Helo)
	if err != nil {
		return err
	}
	if r.Code >= 500 {
		if r, err = c.Do(StepEHLO, "HELO "+c.cfg.Helo); err != nil {
			return err
		}
	}
	if r.Code != 250 {
		return c.refused(StepEHLO, r)
	}
	c.capabilities = slices.DeleteFunc(r.raw[1:], func(line string) bool { return line == "" })
	_, c.pipelining = c.Offers("PIPELINING")
	_, c.eightBit = c.Offers("8BITMIME")
	return nil
}

// Offers returns what stands behind a keyword in what the server offers, and whether it
// stands there. AUTH= is what servers wrote before RFC 2554.
func (c *Conn) Offers(keyword string) (args string, ok bool) {
	for _, line := range c.capabilities {
		word, rest, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			args, ok = args+" "+rest, true
		} else if old, isOld := strings.CutPrefix(strings.ToUpper(word), keyword+"="); isOld {
			args, ok = args+" "+old+" "+rest, true
		}
	}
	return strings.TrimSpace(args), ok
}

// hasEightBits reports whether text is more than ASCII.
func hasEightBits(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// path is an address as a command names it: RFC 5321, 4.1.2. The empty one is <>.
func path(address string) string {
	if address == "" {
		return "<>"
	}
	return "<" + message.HeaderAddress(address) + ">"
}

// mailLine is MAIL for a message of that text; nil where it is not known. BODY is RFC
// 6152.
func (c *Conn) mailLine(from string, text []byte) string {
	line := "MAIL FROM:" + path(from)
	if c.eightBit && hasEightBits(text) {
		line += " BODY=8BITMIME"
	}
	return line
}

const plainEightBits = "the server does not offer 8BITMIME: the text is sent as it is"

// PlainEightBits reports whether text has eight bits and the server did not say that it
// can take them (RFC 6152). It is sent as it is all the same: nearly every server can.
func (c *Conn) PlainEightBits(text []byte) bool { return !c.eightBit && hasEightBits(text) }

// Mail says MAIL for a sender that message.CheckAddress found good, or nobody. Text is
// what will be sent; nil where that is not known. The error is an *Error.
func (c *Conn) Mail(from string, text []byte) error {
	if c.PlainEightBits(text) {
		c.Note(plainEightBits)
	}
	return c.yes(StepMail, c.mailLine(from, text))
}

// Rcpt says RCPT for a recipient that message.CheckAddress found good. The error is an
// *Error.
func (c *Conn) Rcpt(to string) error { return c.yes(StepRcpt, "RCPT TO:"+path(to)) }

// Reset says RSET: there is neither sender nor recipient afterwards. The error is an
// *Error.
func (c *Conn) Reset() error { return c.yes(StepCommand, "RSET") }

// yes is Do for a command that has to be answered with 2xx.
func (c *Conn) yes(step, line string) error {
	r, err := c.Do(step, line)
	if err == nil && r.Code/100 != 2 {
		err = c.refused(step, r)
	}
	return err
}

// Data says DATA. After a reply of 354, and no other, the server waits for a message:
// WriteMessage. The error is that there is no reply.
func (c *Conn) Data(step, line string) (Reply, error) {
	r, err := c.Do(step, line)
	c.inData = err == nil && r.Code == 354
	return r, err
}

// WriteMessage sends a message after Data and returns the reply. The transcript has its
// size in bytes or, with whole set, its lines. The error is an *Error; Unknown is set in
// it when all was sent and no answer came. If the message cannot be read to its end the
// connection is closed, so that the server takes no part for the whole.
func (c *Conn) WriteMessage(text io.Reader, whole bool) (Reply, error) {
	began := time.Now()
	sent := "" // for the step
	fail := func(err error) (Reply, error) {
		c.tell(StepMessage, began, sent, Reply{}, err)
		return Reply{}, err
	}
	w := wireWriter{last: '\n'}
	lines := lineTeller{tell: func(line []byte) { c.line(WeMark, c.secrets.mask(string(line))) }}
	var size int64
	in := make([]byte, 32<<10)
	for ended := false; !ended; {
		n, err := c.readInTime(text, in)
		w.add(in[:n])
		if ended = err == io.EOF; ended {
			w.endLine()
		} else if err != nil {
			c.Close()
			return fail(c.failed(StepMessage, err))
		}
		if whole {
			lines.add(w.out)
		}
		size += int64(len(w.out))
		sent = fmt.Sprintf("[%d bytes]", size)
		if ended {
			if !whole {
				c.line(WeMark, sent)
			}
			c.line(WeMark, ".")
			w.endText()
		}
		if len(w.out) > 0 {
			if err := c.write(StepMessage, w.out); err != nil {
				return fail(err)
			}
			w.out = w.out[:0]
		}
	}
	r, err := c.messageReply()
	c.tell(StepMessage, began, sent, r, err)
	return r, err
}

// readInTime is Read of a reader that may wait for somebody, as standard input does. After
// an error nothing may be done with p any more.
func (c *Conn) readInTime(r io.Reader, p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := r.Read(p)
		done <- result{n, err}
	}()
	timer := time.NewTimer(time.Until(c.deadline))
	defer timer.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	}
}

// messageReply reads the answer to a message that was sent whole.
func (c *Conn) messageReply() (Reply, error) {
	c.inData = false
	r, err := c.readReply(StepMessage)
	switch {
	case err != nil:
		err.(*Error).Unknown = true
	case r.Code/100 != 2:
		err = c.refused(StepMessage, r)
	}
	return r, err
}

// A lineTeller tells each line of a text that comes in pieces; of a long one its begin.
type lineTeller struct {
	tell func(line []byte)
	line []byte
}

func (l *lineTeller) add(text []byte) {
	for len(text) > 0 {
		part, rest, ended := bytes.Cut(text, []byte("\n"))
		if len(l.line) < maxText {
			l.line = append(l.line, part...)
		}
		if text = rest; ended {
			l.tell(bytes.TrimSuffix(l.line, []byte("\r")))
			l.line = l.line[:0]
		}
	}
}

// A wireWriter makes of a text what goes over the wire: lines end in CR LF, a dot at the
// beginning of one is doubled (RFC 5321, 4.5.2), and a dot alone ends it.
type wireWriter struct {
	out  []byte
	last byte // the last of the text so far; LF at its beginning
}

func (w *wireWriter) add(text []byte) {
	for len(text) > 0 {
		if w.last == '\n' && text[0] == '.' {
			w.out = append(w.out, '.')
		}
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			w.out = append(w.out, text...)
			w.last = text[len(text)-1]
			return
		}
		w.out = append(w.out, text[:i]...)
		if before := w.last; i == 0 && before != '\r' || i > 0 && text[i-1] != '\r' {
			w.out = append(w.out, '\r')
		}
		w.out = append(w.out, '\n')
		w.last = '\n'
		text = text[i+1:]
	}
}

// endLine ends the last line, where it has no end.
func (w *wireWriter) endLine() {
	switch w.last {
	case '\n':
	case '\r':
		w.out = append(w.out, '\n')
	default:
		w.out = append(w.out, "\r\n"...)
	}
}

// endText ends a message whose last line has its end.
func (w *wireWriter) endText() { w.out = append(w.out, ".\r\n"...) }

// A Delivery is one message to one recipient, to be sent often.
type Delivery struct {
	From, To string // addresses that message.CheckAddress found good
	Text     []byte // its lines end in LF
	Last     bool   // nothing but Quit comes after it on this connection

	wire wireWriter
}

// Deliver sends a message: MAIL, RCPT and DATA in one write where the server offers
// PIPELINING (RFC 2920), and QUIT with the end of a text after which nothing comes; Quit
// reads the answer to that. The error is an *Error; Unknown is set in it when the text
// was sent and no answer came. If Over is false afterwards the next may follow.
func (c *Conn) Deliver(d *Delivery) error {
	steps := [...]string{StepMail, StepRcpt, StepData}
	lines := [...]string{c.mailLine(d.From, d.Text), "RCPT TO:" + path(d.To), "DATA"}
	if c.pipelining {
		for _, line := range lines {
			c.line(WeMark, line)
		}
		d.wire.out = append(d.wire.out[:0], strings.Join(lines[:], "\r\n")+"\r\n"...)
		if err := c.write(StepMail, d.wire.out); err != nil {
			return err
		}
	}
	var refusal error
	taken := 0     // of MAIL and RCPT, a bit each
	waits := false // the server, for a text
	for i, line := range lines {
		var r Reply
		var err error
		if c.pipelining {
			r, err = c.readReply(steps[i])
		} else {
			r, err = c.Do(steps[i], line)
		}
		switch {
		case err != nil && refusal != nil: // what was said before tells more
			return refusal
		case err != nil:
			return err
		case i == 2 && r.Code == 354:
			waits = true
		case i < 2 && r.Code/100 == 2:
			taken |= 1 << i
		case refusal == nil:
			refusal = c.refused(steps[i], r)
		}
		if c.over || refusal != nil && !c.pipelining {
			break
		}
	}
	if refusal != nil {
		c.recover(waits, taken&2 != 0)
		return refusal
	}
	d.wire.out, d.wire.last = d.wire.out[:0], '\n'
	d.wire.add(d.Text)
	d.wire.endLine()
	if c.cfg.Line != nil {
		c.line(WeMark, fmt.Sprintf("[%d bytes]", len(d.wire.out)))
		c.line(WeMark, ".")
	}
	d.wire.endText()
	whole := len(d.wire.out)
	if d.Last && c.pipelining {
		c.line(WeMark, "QUIT")
		c.quitSaid = true
		d.wire.out = append(d.wire.out, "QUIT\r\n"...)
	}
	c.inData = true
	if n, err := c.writeSome(StepMessage, d.wire.out); err != nil {
		err.(*Error).Unknown = n >= whole
		return err
	}
	_, err := c.messageReply()
	return err
}

// recover makes the connection ready for another message after one whose commands were
// not all taken. Waits: the server, which was told DATA together with the others, waits
// for a text all the same. RFC 2920, 3.1 wants an empty one, which nobody gets; where
// there is a recipient who would, the connection is closed.
func (c *Conn) recover(waits, recipient bool) {
	switch {
	case c.over:
		return
	case waits && recipient:
		c.over = true
		return
	case waits:
		c.line(WeMark, ".")
		if err := c.write(StepMessage, []byte(".\r\n")); err != nil {
			return
		}
		if _, err := c.readReply(StepMessage); err != nil {
			return
		}
	}
	if err := c.Reset(); err != nil {
		c.over = true
	}
}
