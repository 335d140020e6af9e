package dialogue

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"
)

// capa asks a POP3 server what it offers: RFC 2449, 5. One that does not know the command
// offers nothing. Who has chosen one of the ways of RFC 1939 needs no answer.
func (c *Conn) capa() error {
	if m := c.cfg.Login.Mechanism; (m == userMechanism || m == apopMechanism) && !c.cfg.TLS.Start {
		return nil
	}
	c.capabilities = nil
	lines := 0
	_, err := c.Text(StepEHLO, "CAPA", func(line []byte) error {
		if lines++; lines > maxLines {
			return errors.New("the server offers more than 1000 things")
		}
		c.capabilities = append(c.capabilities, string(line))
		return nil
	})
	return err
}

// HasText reports whether POP3's answer to a command goes on, if it is +OK, with lines up
// to a dot: RFC 1939, 3 and RFC 2449, 5.
func HasText(command string) bool {
	words := strings.Fields(strings.ToUpper(command))
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "RETR", "TOP", "CAPA":
		return true
	case "LIST", "UIDL":
		return len(words) == 1
	}
	return false
}

// maxText bounds a line of a text, in bytes: what is longer is cut.
const maxText = 1 << 20

// Text is Do for a command of POP3 whose reply, if it is +OK, has a text: each line of it,
// without its end and without the dot that is doubled, is told to f, which may be nil. A
// line is as long as it likes; f gets its first MiB. A Step has the first MiB of all. The error is that of f, in an *Error,
// or that the text did not come to its end: nothing more can be said then.
func (c *Conn) Text(step, line string, f func(line []byte) error) (Reply, error) {
	began := time.Now()
	c.line(WeMark, line)
	if err := c.write(step, []byte(line+"\r\n")); err != nil {
		c.tell(step, began, line, Reply{}, err)
		return Reply{}, err
	}
	r, err := c.readReply(step)
	var lines []string // of the text, for the step
	if err == nil && r.Sign == "+OK" {
		kept := 0
		err = c.readText(step, func(text []byte) error {
			if c.cfg.Line != nil || c.cfg.Step != nil {
				masked := c.secrets.mask(string(text))
				c.line(TheyMark, masked)
				if kept += len(masked) + 1; c.cfg.Step != nil && kept <= maxText {
					lines = append(lines, masked)
				}
			}
			if f == nil {
				return nil
			}
			return f(text)
		})
		if err != nil {
			c.over = true
			err = c.failed(step, err)
		}
	}
	told := r
	told.shown = slices.Concat(r.shown, lines)
	c.tell(step, began, line, told, err)
	return r, err
}

// readText reads lines up to a dot alone.
func (c *Conn) readText(step string, f func(line []byte) error) error {
	var long []byte
	for {
		b, err := c.r.ReadSlice('\n')
		switch {
		case err == nil:
		case err == bufio.ErrBufferFull:
			if len(long) < maxText {
				long = append(long, b...)
			}
			continue
		default:
			if isEOF(err) {
				err = errors.New("the server closed the connection in the middle of a text")
			}
			return err
		}
		if long != nil {
			if len(long) < maxText {
				long = append(long, b...)
			}
			b, long = long, nil
		}
		b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
		b = b[:min(len(b), maxText)]
		if len(b) == 1 && b[0] == '.' {
			return nil
		}
		if len(b) > 0 && b[0] == '.' {
			b = b[1:]
		}
		if err := f(b); err != nil {
			return err
		}
	}
}
